"""Requests of many clients in one call of the policy."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wla.serving.logs import failure
from wla.serving.wire import WireError
from wla.texts import encodable
from wla.types import ActionChunk, Observation, Policy

logger = logging.getLogger(__name__)


@dataclass
class _Job:
    observation: Observation
    state: Any
    options: dict[str, Any]
    answer: asyncio.Future[tuple[ActionChunk, Any]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """Runs a policy in a thread of its own, with all requests that wait in one batch.

    A batch waits for as many requests as the last one had, but for `window_s` at most: clients that are served together
    come back together. One that is late or dead delays nobody longer than that. A row that the policy cannot answer
    fails alone.
    """

    def __init__(self, policy: Policy, *, max_batch: int = 32, window_s: float = 0.005, max_waiting: int = 256) -> None:
        """window_s: seconds. max_waiting: requests in the queue above which new ones are refused."""
        self._policy, self._max_batch, self._window, self._max_waiting = policy, max_batch, window_s, max_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._jobs: list[_Job] = []
        self._arrived = asyncio.Event()
        self._expected, self._last_s = 1, 0.0
        self.batches, self.rows = 0, 0

    async def act(self, observation: Observation, state: Any, options: dict[str, Any]) -> tuple[ActionChunk, Any]:
        """The answer of `Policy.act`. WireError where the policy raises, and where too many requests wait."""
        if len(self._jobs) >= self._max_waiting:
            raise WireError(f"busy: {len(self._jobs)} requests wait already; try again")
        job = _Job(observation, state, options)
        self._jobs.append(job)
        self._arrived.set()
        return await job.answer

    async def run(self) -> None:
        """Answers requests until it is cancelled."""
        try:
            while True:
                batch = await self._next_batch()
                began = time.perf_counter()
                answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, batch)
                self._last_s = time.perf_counter() - began
                self._expected, self.batches, self.rows = len(batch), self.batches + 1, self.rows + len(batch)
                for job, answer in zip(batch, answers, strict=True):
                    if job.answer.done():
                        continue  # its client went away
                    if isinstance(answer, Exception):
                        job.answer.set_exception(answer)
                    else:
                        job.answer.set_result(answer)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _next_batch(self) -> list[_Job]:
        """Requests with the same options, as many as came within the window."""
        while not self._jobs:
            self._arrived.clear()
            await self._arrived.wait()
        # Waiting longer than a part of what a batch takes would cost more than the batch gains.
        deadline = time.perf_counter() + min(self._window, self._last_s / 4)
        while len(self._jobs) < self._expected and (left := deadline - time.perf_counter()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                break
        first = self._jobs[0]
        # A prefix belongs to one episode: its request is computed alone.
        alone = "prefix" in first.options
        alike = [first] if alone else [job for job in self._jobs if job.options == first.options][: self._max_batch]
        chosen = set(map(id, alike))
        self._jobs = [job for job in self._jobs if id(job) not in chosen]
        return [job for job in alike if not job.answer.done()] or await self._next_batch()

    def _answer(self, batch: list[_Job]) -> list[tuple[ActionChunk, Any] | Exception]:
        try:
            answers = self._policy.act_batch(
                [job.observation for job in batch], [job.state for job in batch], **batch[0].options
            )
            if len(answers) != len(batch):
                raise TypeError(f"{len(answers)} answers to {len(batch)} observations")
            return [_usable(answer) for answer in answers]
        except Exception as error:  # noqa: BLE001 - whatever a policy raises, the others are answered
            if len(batch) > 1:
                return [self._answer([job])[0] for job in batch]
            if isinstance(error, ValueError):
                return [WireError(encodable(str(error).partition("\n")[0]))]
            return [failure(logger, "the policy", error)]


def _usable(answer: tuple[ActionChunk, Any]) -> tuple[ActionChunk, Any]:
    """ValueError for actions that are not finite: they never leave the server."""
    if not np.isfinite(answer[0].actions).all():
        raise ValueError("the policy's actions are not all finite")
    return answer
