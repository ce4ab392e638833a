"""The configuration `--env.type=wla_tabletop`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import gymnasium
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs import EnvConfig
from lerobot.envs.utils import freeze_after_episode_end
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from lerobot_env_wla.env import TabletopForLeRobot
from wla.envs import load_family


@EnvConfig.register_subclass("wla_tabletop")
@dataclass
class WlaTabletopConfig(EnvConfig):
    """The tabletop of wla.

    Args:
        task: tasks or groups of them (`short`, `memory`), separated by commas; each is a suite in the results.
        fps: control steps per second; the simulator has 10.
        setting: clean or randomized.
        embodiment: gantry or scara.
        image_size: side of the square images, pixels.
        episode_length: control steps until truncation; None for each task's own.
    """

    task: str | None = "place"
    fps: int = 10
    setting: str = "clean"
    embodiment: str = "gantry"
    image_size: int = 96
    episode_length: int | None = None

    def __post_init__(self) -> None:
        """ValueError for an unknown name of a task, setting or embodiment."""
        family = load_family("tabletop")
        self._tasks = family.select_tasks(name.strip() for name in (self.task or "").split(",") if name.strip())
        spec = self._make(self._tasks[0]).robot_spec
        if self.fps != spec.action.rate_hz:
            raise ValueError(f"fps is {self.fps}; the tabletop has {spec.action.rate_hz:g}")
        features = {
            ACTION: (ACTION, PolicyFeature(FeatureType.ACTION, (spec.action.dim,))),
            "agent_pos": (OBS_STATE, PolicyFeature(FeatureType.STATE, (spec.observation.state_dim,))),
        }
        for camera, size in spec.observation.cameras.items():
            key = f"{OBS_IMAGES}.{camera}"
            features[f"pixels/{camera}"] = (key, PolicyFeature(FeatureType.VISUAL, (*size, 3)))
        self.features = {name: feature for name, (_, feature) in features.items()}
        self.features_map = {name: key for name, (key, _) in features.items()}

    @property
    def gym_kwargs(self) -> dict:
        return {}

    def create_envs(
        self, n_envs: int, use_async_envs: bool = False
    ) -> dict[str, dict[int, gymnasium.vector.VectorEnv]]:
        """A vector environment for each task. An environment stands still from the end of its episode on."""
        return {task: {0: self._vector(task, n_envs, use_async_envs)} for task in self._tasks}

    def _vector(self, task: str, count: int, use_async: bool) -> gymnasium.vector.VectorEnv:
        makers = [freeze_after_episode_end(partial(self._make, task))] * count
        mode = gymnasium.vector.AutoresetMode.NEXT_STEP
        if use_async and count > 1:
            return gymnasium.vector.AsyncVectorEnv(makers, context="forkserver", autoreset_mode=mode)
        return gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode)

    def _make(self, task: str) -> TabletopForLeRobot:
        return TabletopForLeRobot(task, self.setting, self.embodiment, self.image_size, self.episode_length)
