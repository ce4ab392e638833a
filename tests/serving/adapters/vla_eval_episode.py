"""Episodes of the tabletop under vla-evaluation-harness: its client and both of its runners, against our model server.

    python vla_eval_episode.py ADDRESS TASK SEED

ADDRESS: of `wla serve`. Run in an environment of vla-eval.
"""

from __future__ import annotations

import sys

import anyio
import numpy as np
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.connection import Connection
from vla_eval.model_servers.serve import serve_async
from vla_eval.runners.live_runner import LiveEpisodeRunner
from vla_eval.runners.sync_runner import SyncEpisodeRunner
from vla_eval.specs import IMAGE_RGB, LANGUAGE, DimSpec

from wla.envs import make_env
from wla.serving.adapters.vla_eval import WLAModelServer


class Tabletop(StepBenchmark):
    """The embedded simulator."""

    def __init__(self, task: str, seed: int) -> None:
        super().__init__()
        self.env, self.name, self.seed = make_env("tabletop", task=task), task, seed

    def get_tasks(self):
        return [{"name": self.name}]

    def reset(self, task):
        raw, info = self.env.reset(seed=self.seed)
        self.instruction = info["instruction"]
        return raw

    def step(self, action):
        raw, reward, terminated, truncated, info = self.env.step(np.asarray(action["actions"], np.float32))
        return StepResult(raw, reward, terminated or truncated, info)

    def make_obs(self, raw_obs, task):
        return {**raw_obs, "task_description": self.instruction}

    def get_step_result(self, step_result):
        return {"success": bool(step_result.info["success"])}

    def get_hold_action(self, last_action):
        held = np.zeros(5, np.float32)
        if last_action is not None:
            held[-1] = last_action["actions"][-1]
        return {"actions": held}

    def get_action_spec(self):
        return {"action": DimSpec("action", 5, "dx, dy, dz, dyaw, gripper")}

    def get_observation_spec(self):
        return {"image": IMAGE_RGB, "language": LANGUAGE}


async def main() -> None:
    address, task, seed = sys.argv[1:]
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_async, WLAModelServer(address), "127.0.0.1", 0)
        for runner in (SyncEpisodeRunner(), LiveEpisodeRunner(hz=10.0, wait_first_action=True)):
            async with Connection(f"ws://127.0.0.1:{port}") as connection:
                result = await runner.run_episode(Tabletop(task, int(seed)), {"name": task}, connection, max_steps=200)
            stale = result.get("rt_metrics", {}).get("stale_action_ratio")
            print(type(runner).__name__, result["metrics"], result["steps"], f"stale {stale}", flush=True)
        tasks.cancel_scope.cancel()


anyio.run(main)
