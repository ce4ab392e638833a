"""A server in a thread, and policies whose answers tell what they were given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from toy_robot import robot

from wla.serving.server import PolicyServer, ServerConfig
from wla.types import ActionChunk, BasePolicy, MemoryItem, Observation, Policy, PolicyState


class Teller(BasePolicy[PolicyState]):
    """Chunks of four actions: the state's first number, and the control step at which the policy acts.

    Its memory holds a line per call. instruction 'refuse' is refused, 'fail' raises something else, 'nan' answers NaN.
    """

    def __init__(self) -> None:
        self.robot_spec = robot()
        self.checkpoint_sha256 = "abc"
        self.batches: list[int] = []

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act_batch(self, observations, states, *, prefix=None, **options):
        self.batches.append(len(states))
        return [self._act(*each, **options) for each in zip(observations, states, strict=True)]

    def act(self, observation, state, **options):
        return self.act_batch([observation], [state], **options)[0]

    def _act(self, observation: Observation, state: PolicyState, *, imagine: bool = False, flow_steps=None):
        if state.instruction == "refuse":
            raise ValueError("this is refused\nwith a second line")
        if state.instruction == "fail":
            raise ZeroDivisionError("by zero")
        actions = np.tile(np.array([observation.state[0], state.env_step], np.float32), (4, 1))
        if state.instruction == "nan":
            actions[2, 1] = np.nan
        subgoal = np.full((4, 4, 3), 7, np.uint8) if imagine else None
        chunk = ActionChunk(actions, (f"step {state.env_step}",), subgoal, replan_steps=2)
        item = MemoryItem(f"acted at {state.env_step}", state.env_step, state.env_step)
        after = replace(state, num_calls=state.num_calls + 1, memory=(*state.memory, item), subtasks=chunk.subtasks)
        return chunk, self.observe(observation, after)

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        return replace(state, env_step=state.env_step + 1)

    def with_memory(self, state: PolicyState, memory, window) -> PolicyState:
        return replace(state, memory=tuple(MemoryItem(text, 0, 0) for text in memory), subtasks=tuple(window))


def observation(value: float = 0.0) -> Observation:
    image = np.zeros((32, 48, 3), np.uint8)
    return Observation({"front": image, "wrist": image}, np.array([value, 0, 0], np.float32))


def fields(value: float = 0.0, prompt: str = "go", **more: object) -> dict[str, object]:
    """A request as openpi's client sends it. Further names may have `__` in the place of `/`."""
    image = np.zeros((32, 48, 3), np.uint8)
    request = {"observation/image": image, "observation/wrist_image": image, "prompt": prompt}
    request["observation/state"] = np.array([value, 0, 0], np.float32)
    return request | {name.replace("__", "/"): value for name, value in more.items()}


@contextmanager
def served(policy: Policy, **config: object) -> Iterator[str]:
    """The address of a server of the policy, in a thread of its own."""
    ready, stop = threading.Event(), threading.Event()
    address: list[str] = []

    async def run() -> None:
        async with PolicyServer(policy, "teller", ServerConfig(port=0, **config)) as server:
            address.append(f"ws://127.0.0.1:{server.port}")
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(10)
        yield address[0]
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
