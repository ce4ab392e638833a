"""A gymnasium environment, by its mapping, as an environment of this package."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8

from wla.envs.gym.mapping import OBSERVATION, RENDER, TERMINATED, GymMapping
from wla.gl import prepare_gl
from wla.specs import ActionSpec, ObservationSpec, RobotSpec

_SEED = 0  # of the trial step; each episode brings its own


class GymEnv:
    """The environment of a mapping. Fulfils `wla.types.Env`.

    Making it resets and steps once, so that what the mapping and the environment do not agree about is found before
    an episode. ValueError then, and whenever an image, the state or the info is not what it was.
    """

    def __init__(self, mapping: GymMapping) -> None:
        self._mapping = mapping
        self._env = make_gym(
            mapping.id,
            mapping.module,
            render=RENDER in mapping.images.values(),
            max_episode_steps=mapping.max_steps,
            **mapping.kwargs,
        )
        space = require_box(self._env, mapping.id)
        raw, info = self._env.reset(seed=_SEED)
        self._instruction(info)
        self.robot_spec = RobotSpec(
            embodiment=mapping.embodiment,
            action=action_spec(mapping, space),
            observation=observation_spec(mapping, self._images(raw), self._state(raw)),
        )
        spec = self.robot_spec.action
        self._low, self._high = np.array(spec.low, dtype=np.float32), np.array(spec.high, dtype=np.float32)
        self._dtype = space.dtype
        self.step((self._low + self._high) / 2)

    @property
    def unwrapped(self) -> Any:
        """The environment itself, as gymnasium calls it: for an expert, who knows more than observations state."""
        return self._env.unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """A new episode; info["instruction"] is the instruction."""
        raw, info = self._env.reset(seed=seed, options=options)
        return self._observe(raw), {"instruction": self._instruction(info), "success": False}

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]:
        """One control step with the action clipped to its limits; success ends the episode."""
        clipped = np.clip(action, self._low, self._high).astype(self._dtype)
        raw, reward, terminated, truncated, info = self._env.step(clipped)
        success = bool(terminated if self._mapping.success == TERMINATED else self._info(info, "success"))
        over = bool(terminated) or success
        return self._observe(raw), float(reward), over, bool(truncated) and not over, {"success": success}

    def close(self) -> None:
        self._env.close()

    def _observe(self, raw: Any) -> dict[str, Any]:
        images, state = self._images(raw), self._state(raw)
        expected = self.robot_spec.observation
        for name, image in images.items():
            if image.shape[:2] != expected.cameras[name]:
                before = expected.cameras[name]
                raise ValueError(self._problem(f"camera {name} changed from {before} to {image.shape[:2]}"))
        if len(state) != expected.state_dim:
            raise ValueError(self._problem(f"the state changed from {expected.state_dim} dimensions to {len(state)}"))
        return {"images": images, "state": state}

    def _images(self, raw: Any) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        images = {}
        for name, source in self._mapping.images.items():
            image: Any = self._env.render() if source == RENDER else self._value(raw, f"images.{name}", source)
            if not is_image(image):
                raise ValueError(self._problem(f"images.{name} = {source!r} is {describe(image)}, not uint8 (H, W, 3)"))
            upright = image[::-1] if name in self._mapping.upside_down else image
            images[name] = np.array(upright)  # of its own: environments may write into theirs again
        return images

    def _state(self, raw: Any) -> Float32[np.ndarray, " S"]:
        parts = []
        for source in self._mapping.state.keys:
            value = np.asarray(self._value(raw, "state.keys", source))
            if value.ndim > 1 or value.dtype.kind not in "fiub":
                raise ValueError(self._problem(f"state.keys: {source!r} is {describe(value)}, not a vector of numbers"))
            parts.append(np.atleast_1d(value).astype(np.float32))
        return np.concatenate(parts)

    def _instruction(self, info: Mapping[str, Any]) -> str:
        return self._mapping.instruction or str(self._info(info, "instruction_key"))

    def _info(self, info: Mapping[str, Any], field: str) -> Any:
        key = getattr(self._mapping, field)
        if key not in info:
            known = ", ".join(map(str, info)) or "nothing"
            raise ValueError(self._problem(f"{field}: info has no {key!r}; it has {known}"))
        return info[key]

    def _value(self, raw: Any, field: str, source: str) -> Any:
        if source == OBSERVATION:
            return raw
        for key in source.split("."):
            if not isinstance(raw, Mapping) or key not in raw:
                known = ", ".join(map(str, raw)) if isinstance(raw, Mapping) else f"no keys ({OBSERVATION})"
                raise ValueError(self._problem(f"{field}: the observation has no {source!r}; there it has {known}"))
            raw = raw[key]
        return raw

    def _problem(self, problem: str) -> str:
        return f"gymnasium environment {self._mapping.id!r}: {problem}"


def make_gym(env_id: str, module: str, *, render: bool, **kwargs: Any) -> gymnasium.Env:
    """A gymnasium environment of a registered id. ValueError where it cannot be made."""
    with suppress(OSError, RuntimeError):  # many render with MuJoCo; those that do not need no renderer of ours
        prepare_gl()
    try:
        if module:
            import_module(module)
        options = {"render_mode": "rgb_array" if render else None, **kwargs}  # some draw observations in that mode only
        return gymnasium.make(env_id, disable_env_checker=True, **options)
    except ImportError as error:
        raise ValueError(
            f"gymnasium environment {env_id!r}: cannot import {module or 'what it needs'} ({error}); install it, or "
            "put its folder on PYTHONPATH"
        ) from error
    except (gymnasium.error.Error, TypeError, AttributeError, RuntimeError) as error:  # the last two: no renderer
        raise ValueError(f"gymnasium environment {env_id!r} cannot be made: {error}") from error


def require_box(env: gymnasium.Env, env_id: str) -> gymnasium.spaces.Box:
    """The action space. ValueError for any that is not a vector of floats."""
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1 or space.dtype.kind != "f":
        raise ValueError(f"gymnasium environment {env_id!r}: actions are {space}; only a 1-D Box of floats works")
    return space


def action_spec(mapping: GymMapping, space: gymnasium.spaces.Box) -> ActionSpec:
    """The action vector of the environment. ValueError for entries of another length, or infinite limits."""
    dim, given = space.shape[0], mapping.action
    bounds = {"low": tuple(map(float, space.low)), "high": tuple(map(float, space.high))}
    low, high = (
        per_dimension(mapping.id, f"action.{side}", getattr(given, side), bounds[side], dim) for side in bounds
    )
    if not np.isfinite([*low, *high]).all():
        raise ValueError(
            f"gymnasium environment {mapping.id!r}: actions have no limits; give action.low and action.high, {dim} each"
        )
    return ActionSpec(
        names=per_dimension(mapping.id, "action.names", given.names, default_names("action", dim), dim),
        units=per_dimension(mapping.id, "action.units", given.units, ("1",) * dim, dim),
        kinds=per_dimension(mapping.id, "action.kinds", given.kinds, ("absolute",) * dim, dim),
        low=low,
        high=high,
        frame=given.frame,
        gripper=given.gripper,
        rate_hz=mapping.rate_hz,
    )


def observation_spec(
    mapping: GymMapping, images: Mapping[str, np.ndarray], state: Float32[np.ndarray, " S"]
) -> ObservationSpec:
    """The images and the state vector of the environment. ValueError for entries of another length."""
    dim, given = len(state), mapping.state
    return ObservationSpec(
        cameras={name: image.shape[:2] for name, image in images.items()},
        state_names=per_dimension(mapping.id, "state.names", given.names, default_names("state", dim), dim),
        state_units=per_dimension(mapping.id, "state.units", given.units, ("1",) * dim, dim),
        state_frame=given.frame,
    )


def default_names(what: str, dim: int) -> tuple[str, ...]:
    return tuple(f"{what}_{number}" for number in range(dim))


def per_dimension(env_id: str, field: str, given: tuple | None, default: tuple, dim: int) -> tuple:
    """What is given, or else the default. ValueError unless it has one entry per dimension."""
    entries = default if given is None else given
    if len(entries) != dim:
        raise ValueError(f"gymnasium environment {env_id!r}: {field} has {len(entries)} entries for {dim} dimensions")
    return entries


def is_image(value: Any) -> bool:
    """Whether the value is uint8 (H, W, 3)."""
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3


def describe(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
