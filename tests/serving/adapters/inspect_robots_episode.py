"""An episode of the tabletop under inspect-robots, with the policy of a server.

Run in an environment of inspect-robots:

python inspect_robots_episode.py ADDRESS TASK SEED LOGS
"""

from __future__ import annotations

import sys

import numpy as np
from inspect_robots import eval as evaluate
from inspect_robots.embodiment import EmbodimentBase, EmbodimentInfo
from inspect_robots.scene import Scene
from inspect_robots.task import Task
from inspect_robots.types import Action, Observation, StepResult

from wla.envs import make_env
from wla.serving.adapters.inspect_robots import WLAPolicyAdapter


class Tabletop(EmbodimentBase):
    """The embedded simulator; its action space is that of the policy that is tried."""

    def __init__(self, task: str, policy: WLAPolicyAdapter) -> None:
        self.env = make_env("tabletop", task=task)
        info = policy.info
        self.info = EmbodimentInfo("tabletop", info.action_space, info.observation_space, control_hz=info.control_hz)

    def reset(self, scene: Scene, *, seed: int | None = None) -> Observation:
        raw, info = self.env.reset(seed=scene.init_seed)
        self.instruction = info["instruction"]
        return self._seen(raw)

    def step(self, action: Action) -> StepResult:
        raw, reward, terminated, truncated, info = self.env.step(action.data.astype(np.float32))
        reason = "success" if info["success"] else None
        return StepResult(self._seen(raw), reward, terminated, reason, truncated, {"success": info["success"]})

    def _seen(self, raw: dict) -> Observation:
        return Observation(raw["images"], {"state": raw["state"]}, self.instruction)


def main() -> None:
    address, task, seed, logs = sys.argv[1:]
    policy = WLAPolicyAdapter(address)
    embodiment = Tabletop(task, policy)
    embodiment.env.reset(seed=int(seed))
    _, info = embodiment.env.reset(seed=int(seed))
    scene = Scene(f"{task}-{seed}", info["instruction"], init_seed=int(seed))
    (log,) = evaluate(Task(task, [scene], "success_at_end", 300), policy, embodiment, log_dir=logs)
    print(log.status, len(policy.transcript()), policy.transcript()[-1])
    print(log.results)


main()
