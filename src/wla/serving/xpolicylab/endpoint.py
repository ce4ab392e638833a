"""Answers the requests of XPolicyLab's clients, such as RoboTwin's evaluation.

They send one observation per request, execute all actions of the answer, and count every error as a failed episode. So
an answer has as many actions as the policy advises to execute, and its history has the stride of its calls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from wla.serving.batching import Batcher
from wla.serving.delivery import sent
from wla.serving.logs import failure
from wla.serving.metrics import ServerMetrics
from wla.serving.requests import read_whole
from wla.serving.wire import WireError
from wla.serving.xpolicylab.convention import RoboTwinConvention
from wla.serving.xpolicylab.frames import ANSWERS, ErrorCode, Frame, FrameError, read_frame
from wla.serving.xpolicylab.trials import Trials
from wla.types import Policy, PolicyState

logger = logging.getLogger("wla.serving")
SILENCE_S = 5.0
"""Seconds without a first request after which a client is told what is spoken here: openpi's would wait for ever."""


class XPolicyLabEndpoint:
    """Serves connections until they end."""

    # A client answers pings only while it waits for a reply: never while its simulator computes.
    ping_timeout_s: float | None = None

    def __init__(self, policy: Policy, name: str, batcher: Batcher, metrics: ServerMetrics) -> None:
        """ValueError for a robot that RoboTwin could not express."""
        self._policy, self._name, self._batcher, self._metrics = policy, name, batcher, metrics
        self._convention = RoboTwinConvention(policy.robot_spec)
        self._trials = Trials()

    async def attend(self, connection: ServerConnection, peer: str) -> None:
        """Answers the requests of a connection, one after the other."""
        number = self._trials.connected()
        hint = asyncio.create_task(_hint(connection))
        try:
            async for data in connection:
                hint.cancel()
                began = time.perf_counter()
                answer = await self._answer(data, number, peer)
                if answer is None:
                    break
                if not await sent(connection, answer):
                    logger.warning("dropped", extra={"peer": peer, "reason": "did not read its reply"})
                    break
                self._metrics.seconds.observe(time.perf_counter() - began)
        finally:
            hint.cancel()
            self._trials.disconnected(number)

    async def _answer(self, data: bytes | str, connection: int, peer: str) -> bytes | None:
        """The frame that answers a request; None for the last one."""
        frame = Frame()
        try:
            frame = read_frame(data)
            if frame.message_type == "close":
                return None
            payload = await self._payload(frame, connection)
            return frame.answer(ANSWERS[frame.message_type], payload)
        except Exception as error:  # noqa: BLE001 - no frame of a peer ends its connection
            line = error if isinstance(error, WireError) else failure(logger, "the request", error)
            refused = line if isinstance(line, FrameError) else FrameError(str(line), _code(frame), frame)
        self._metrics.errors.inc()
        logger.warning("refused", extra={"peer": peer, "reason": str(refused)})
        return refused.frame.refusal(refused.code, str(refused))

    async def _payload(self, frame: Frame, connection: int) -> dict[str, Any]:
        if frame.message_type == "hello":
            return {"ok": True, "server": "wla", **self._about()}
        if frame.message_type in ("prepare_case", "reset"):
            self._convention.require_action_type(frame.payload.get("action_type"))
        if frame.message_type == "reset":
            self._trials.reset(frame, connection)
        if frame.message_type == "trial_end":
            self._trials.end(frame, connection)
        if frame.message_type == "infer":
            return await self._infer(frame, connection)
        return {"ok": True}

    def _about(self) -> dict[str, Any]:
        return {
            "policy": self._name,
            "robot": self._policy.robot_spec.embodiment,
            "action_type": self._convention.action_type,
            "cameras": list(self._convention.cameras.values()),
            "frequency": self._policy.robot_spec.action.rate_hz,
            "eval_batch": False,
        }

    async def _infer(self, frame: Frame, connection: int) -> dict[str, Any]:
        began = time.perf_counter()
        fields = frame.payload.get("observation")
        if not isinstance(fields, dict):
            raise FrameError("the payload of infer has no observation, which is a map", frame=frame)
        trial = self._trials.get(frame, connection)
        try:
            prompt = self._convention.instruction(fields, trial.case.get("instruction"))
            seed = read_whole(trial.case.get("seed", 0), "seed", 2**63 - 1)
            environment = read_whole(fields.get("env_idx", 0), "env_idx", 2**31)
            observation = self._convention.observation(fields)
        except WireError as error:
            raise FrameError(str(error), frame=frame) from error
        episode = trial.episode(environment, self._policy)
        async with episode.lock:
            request, state = episode.prepare(observation, prompt, seed=seed, step=frame.step)
            chunk, after = await self._batcher.act(observation, state, {})
            actions = [self._action(action) for action in chunk.actions[: chunk.replan_steps]]
            episode.predicted(request, (chunk, after))
        memory = [item.text for item in after.memory] if isinstance(after, PolicyState) else []
        return {
            "actions": actions,
            "latency_ms": 1000 * (time.perf_counter() - began),
            "wla/subtasks": list(chunk.subtasks),
            "wla/memory": memory,
        }

    def _action(self, action: Any) -> dict[str, Any]:
        try:
            return self._convention.action(action)
        except ValueError as error:
            raise WireError(str(error)) from error


def _code(frame: Frame) -> ErrorCode:
    match frame.message_type:
        case "infer":
            return "infer_failed"
        case "reset" | "prepare_case":
            return "reset_failed"
    return "internal"


async def _hint(connection: ServerConnection) -> None:
    """Tells a client that waits for the server to speak first, in text, which XPolicyLab's clients ignore."""
    await asyncio.sleep(SILENCE_S)
    with suppress(ConnectionClosed):
        await connection.send("XPolicyLab's protocol is spoken here; for others serve without --protocol xpolicylab")
