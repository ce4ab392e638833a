"""Still scenes of the simulator, rendered once and kept as arrays, to ask questions about."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np

from wla.config import Config
from wla.data.transforms import resize
from wla.envs.registry import make_env
from wla.envs.seeds import require_seeds
from wla.envs.tabletop.world import World
from wla.files import atomic_dir, disk_errors
from wla.process_pool import submit, worker_pool
from wla.progress import track


class SceneConfig(Config):
    """Which scenes: `scenes_per_variant` of each task and setting, seeds from `seed` on."""

    tasks: tuple[str, ...]
    settings: tuple[str, ...] = ("clean", "randomized")
    embodiment: str = "gantry"
    scenes_per_variant: int = 1500
    seed: int = 0
    cameras: dict[str, int]
    """Camera -> side to keep."""


Position = tuple[float, float, float]


class RenderedObject(Config):
    """Something with a name, what it shows, and its place (x, y, z) in metres in the world and each camera's frame.

    views: camera -> (u, v, x, y, z): image coordinates in fractions of the image from the upper left corner, and the
    place in the camera's frame (x right, y up, z back, metres).
    """

    name: str
    label: str = ""
    position: Position
    views: dict[str, tuple[float, float, float, float, float]]

    @property
    def class_name(self) -> str:
        """What a look at it tells: its name, and what it shows."""
        return f"{self.name} {self.label}".strip()


class Scenes:
    """N scenes: images[camera] uint8 (N, side, side, 3), state (N, S), and the things in each."""

    def __init__(self, folder: Path) -> None:
        config = SceneConfig.load(folder / "scenes.json")
        self.images = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in config.cameras}
        self.state = np.load(folder / "state.npy")
        lines = (folder / "things.jsonl").read_text(encoding="utf-8").splitlines()
        self.objects = [[RenderedObject.model_validate(thing) for thing in json.loads(line)] for line in lines]

    def __len__(self) -> int:
        return len(self.state)

    @cached_property
    def names(self) -> list[str]:
        return sorted({thing.name for scene in self.objects for thing in scene})

    @cached_property
    def classes(self) -> list[str]:
        """All that a look at a thing may tell."""
        return sorted({thing.class_name for scene in self.objects for thing in scene})

    @cached_property
    def labels(self) -> list[str]:
        """What things show."""
        return sorted({thing.label for scene in self.objects for thing in scene if thing.label})


def render_scenes(config: SceneConfig, folder: Path, *, workers: int) -> Scenes:
    """The scenes in `folder`, rendered now unless the same ones are there already. ValueError for any other folder."""
    if (folder / "scenes.json").is_file() and SceneConfig.load(folder / "scenes.json") == config:
        return Scenes(folder)
    require_seeds(range(config.seed, config.seed + config.scenes_per_variant), "training")
    kinds = [(config, task, setting) for task in config.tasks for setting in config.settings]
    if folder.exists() and not (folder / "scenes.json").is_file():
        raise ValueError(f"{folder}: holds something else than scenes; choose another scenes_folder")
    with worker_pool(workers) as pool:
        jobs = [submit(pool, _render_variant, variant) for variant in kinds]
        parts = [job.result() for job in track(jobs, description="rendering scenes")]
    with disk_errors(folder, "free disk space or choose another scenes_folder"), atomic_dir(folder) as fresh:
        for name in config.cameras:
            np.save(fresh / f"{name}.npy", np.concatenate([images[name] for images, _, _ in parts]))
        np.save(fresh / "state.npy", np.concatenate([state for _, state, _ in parts]))
        lines = [json.dumps([thing.model_dump() for thing in scene]) for _, _, things in parts for scene in things]
        (fresh / "things.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        config.save(fresh / "scenes.json")
    return Scenes(folder)


def _render_variant(
    variant: tuple[SceneConfig, str, str],
) -> tuple[dict[str, np.ndarray], np.ndarray, list[list[RenderedObject]]]:
    config, task, setting = variant
    env = make_env("tabletop", task=task, setting=setting, embodiment=config.embodiment)
    images: dict[str, list[np.ndarray]] = {name: [] for name in config.cameras}
    states, things = [], []
    for seed in range(config.seed, config.seed + config.scenes_per_variant):
        observation = env.sample_scene(seed)
        for name, side in config.cameras.items():
            images[name].append(resize(observation["images"][name][None], side).numpy()[0])
        states.append(observation["state"])
        things.append(
            [
                RenderedObject(
                    name=thing.name,
                    label=thing.label,
                    position=thing.position,
                    views={name: project(env.world, name, thing.position) for name in config.cameras},
                )
                for thing in env.objects()
            ]
        )
    env.close()
    return {name: np.stack(values) for name, values in images.items()}, np.stack(states), things


def project(world: World, camera: str, position: Position) -> tuple[float, float, float, float, float]:
    """Where a camera sees a place of the world: see `RenderedObject.views`. MuJoCo's cameras look along their -z axis."""
    pose = world.data.camera(camera)
    x, y, z = (np.array(position) - pose.xpos) @ pose.xmat.reshape(3, 3)
    reach = np.tan(np.radians(world.model.camera(camera).fovy[0]) / 2) * max(-z, 1e-6)
    return float(0.5 + 0.5 * x / reach), float(0.5 - 0.5 * y / reach), float(x), float(y), float(z)
