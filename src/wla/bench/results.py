"""What a benchmark has found: rows of figures, rows that are open, and comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from wla.bench.timing import Budget

Figures = dict[str, float | int]
"""Figure with its unit ("p50 ms") -> value."""
SIGNIFICANT_DIGITS = 4


@dataclass
class Results:
    """rows: name -> figures. open: name -> why it was not measured. comparisons: lines that end in a speedup. speedups:
    the same by name."""

    rows: dict[str, Figures] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    comparisons: list[str] = field(default_factory=list)
    speedups: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, **figures: float | int) -> None:
        """Adds a row. figures: name and unit, joined by ``_``, ``_per_`` for a rate -> value."""
        self.rows[name] = {
            key.replace("_per_", "/").replace("_", " "): rounded(value) for key, value in figures.items()
        }

    def add_times(self, name: str, ms: Sequence[float]) -> None:
        """Adds a row of latencies: median, 99th percentile and their number."""
        self.add(name, p50_ms=float(np.median(ms)), p99_ms=float(np.quantile(ms, 0.99)), n=len(ms))

    def compare(self, what: str, before: str, after: str, figure: str, note: str = "") -> None:
        """Adds a comparison of two rows by one of their figures, where both were measured.

        note: what else was compared, such as the difference of what they returned.
        """
        if before not in self.rows or after not in self.rows:
            return
        old, new = self.rows[before][figure], self.rows[after][figure]
        faster = old / new if figure.endswith(" ms") else new / old
        self.speedups[what] = round(faster, 2)
        unit = figure.split()[-1]
        details = f" ({note})" if note else ""
        self.comparisons.append(f"{what}: {old:g} -> {new:g} {unit}{details}, speedup {faster:.2f}")

    def in_time(self, name: str, budget: Budget) -> bool:
        """Whether time is left for a measurement; it is open where none is."""
        if not budget.left:
            self.open[name] = "no time was left: name more --minutes"
        return budget.left > 0

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Context of measurements that this machine may be unable to make: they are open then, with the reason."""
        try:
            yield
        except ModuleNotFoundError as error:
            self.open[name] = f"needs {error.name}, which is not installed"
        except torch.OutOfMemoryError:
            self.open[name] = "does not fit into the memory of this GPU"


def rounded(value: float | int) -> float | int:
    """The value with `SIGNIFICANT_DIGITS`; integers as they are."""
    return value if isinstance(value, int) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def parity(reference: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Largest difference of two sequences of arrays, as a fraction of the range of the first."""
    ours, theirs = np.stack(reference), np.stack(other)
    return float(np.abs(ours - theirs).max() / np.ptp(ours))


def as_dict(results: Results) -> Mapping[str, object]:
    """What is stored of results."""
    return {"rows": results.rows, "open": results.open, "speedups": results.speedups}


@contextmanager
def peak_gpu_memory(results: Results, name: str, device: torch.device) -> Iterator[None]:
    """Context whose largest allocation on a GPU becomes a row."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.reset_peak_memory_stats(device)
    yield
    results.add(name, peak_GiB=torch.cuda.max_memory_allocated(device) / 2**30)
