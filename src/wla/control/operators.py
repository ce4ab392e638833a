"""A person who takes a robot over: a device that gives actions, and a switch that says who drives."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wla.control.lerobot_robot import LEROBOT, LeRobotRobot, lerobot_leader
from wla.control.simulated_robot import SimulatedRobot
from wla.envs.registry import make_expert
from wla.robots.base import Robot
from wla.types import Observation, PolicyState

Device = Callable[[Observation], Float32[np.ndarray, " A"]]
"""Gives the action of the person."""


class Lines:
    """Lines that are typed, read beside the control loop."""

    def __init__(self, stream: Iterable[str] | None = None) -> None:
        """stream: standard input when left out."""
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(stream or sys.stdin,), name="terminal", daemon=True).start()

    def poll(self) -> str | None:
        """The next line that was typed; None where there is none yet."""
        try:
            return self._lines.get_nowait()
        except queue.Empty:
            return None

    def wait(self) -> str | None:
        """The next line; None at the end of the input."""
        return self._lines.get()

    def _read(self, stream: Iterable[str]) -> None:
        for line in stream:
            self._lines.put(line.strip())
        self._lines.put(None)


class SwitchedOperator:
    """An `Operator` to whom every typed line hands the robot over, or from whom it takes it back."""

    def __init__(self, device: Device, lines: Lines, say: Callable[[str], None] = print) -> None:
        self._device, self._lines, self._say = device, lines, say
        self._drives = False

    def action(self, observation: Observation) -> Float32[np.ndarray, " A"] | None:
        while self._lines.poll() is not None:
            self._drives = not self._drives
            self._say("you drive; Enter gives the robot back" if self._drives else "the policy drives")
        return self._device(observation) if self._drives else None


@contextmanager
def open_device(name: str, robot: Robot, family: str, settings: Path | None) -> Iterator[Device]:
    """The named device of a person: `expert`, the scripted expert of a simulated robot, who stands in for one, or
    lerobot:NAME.

    family: of the simulated robot. settings: file of the robot of LeRobot, whose [operator] states the device.
    ValueError for a device that the robot does not have.
    """
    if name == "expert":
        if not isinstance(robot, SimulatedRobot):
            raise ValueError("--operator expert: only simulated robots have one; use lerobot:NAME")
        expert = make_expert(family, robot.env)
        yield lambda observation: expert.act(observation, PolicyState(robot.instruction))[0].actions[0]
        return
    if not name.startswith(LEROBOT) or not isinstance(robot, LeRobotRobot) or settings is None:
        raise ValueError(f"--operator {name}: use expert for a simulated robot, lerobot:NAME for one of LeRobot")
    with lerobot_leader(name.removeprefix(LEROBOT), settings, robot) as device:
        yield device
