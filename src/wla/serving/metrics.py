"""Counters of a server in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from wla.serving.batching import Batcher

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class ServerMetrics:
    """The metrics of one server; each has a registry of its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "wla_reply_seconds", "Time from a request's arrival until its reply", buckets=_BUCKETS, registry=registry
        )
        self.errors = Counter("wla_refused", "Requests that were answered by an error", registry=registry)
        self._connections = Gauge("wla_connections", "Open connections", registry=registry)
        self._batches = Gauge("wla_batches", "Batches that the policy computed", registry=registry)
        self._rows = Gauge("wla_predictions", "Predictions in those batches", registry=registry)

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Counts a connection while it is open."""
        with self._connections.track_inprogress():
            yield

    def text(self, batcher: Batcher) -> str:
        self._batches.set(batcher.batches)
        self._rows.set(batcher.rows)
        return generate_latest(self._registry).decode()
