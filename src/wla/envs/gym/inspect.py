"""A first mapping of a gymnasium environment, from looking at it once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from wla.envs.gym.env import default_names, is_image, make_gym, require_box
from wla.envs.gym.mapping import OBSERVATION, RENDER, file_name

SUCCESS_KEYS = ("is_success", "success")
INSTRUCTION_KEYS = ("instruction", "language_instruction", "task_description")
_PRIMARY = "front"


@dataclass
class Draft:
    """What an environment shows of itself. fields: as of `GymMapping`; missing: field -> what a person has to state.

    images: what each camera showed after a reset, as the environment gives it.
    """

    fields: dict[str, Any]
    missing: dict[str, str] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)


def inspect_gym(name: str) -> Draft:
    """Resets and steps the environment `ID`, or `MODULE:ID` where a module has to be imported first.

    ValueError for one that cannot be made or driven, or that shows no images.
    """
    module, _, env_id = name.rpartition(":")
    with closing(make_gym(env_id, module, render=False)) as env:
        renders = "rgb_array" in (env.metadata.get("render_modes") or ())
    with closing(make_gym(env_id, module, render=renders)) as env:
        try:
            return _inspect(env, env_id, module, renders)
        except ValueError:
            raise
        except Exception as error:  # foreign code and its renderer may raise anything
            problem = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"gymnasium environment {env_id!r} does not run here: {problem}") from error


def _inspect(env: gymnasium.Env, env_id: str, module: str, renders: bool) -> Draft:
    space = require_box(env, env_id)
    raw, reset_info = env.reset(seed=0)
    leaves = dict(_leaves(raw))
    found = [key for key, value in leaves.items() if is_image(value)]
    sources = {_PRIMARY if key == OBSERVATION else file_name(key.split(".")[-1]): key for key in found}
    if not sources and renders:
        sources = {_PRIMARY: RENDER}
    images: dict[str, Any] = {name: env.render() if key == RENDER else leaves[key] for name, key in sources.items()}
    if not images or not all(map(is_image, images.values())):
        raise ValueError(
            f"gymnasium environment {env_id!r} shows no images: its observation has no uint8 (H, W, 3), and it does "
            "not render rgb_array; a policy needs at least one camera"
        )
    action = np.zeros(space.shape, space.dtype)
    *_, step_info = env.step(np.clip(action, space.low, space.high))
    draft = Draft({"id": env_id, "module": module, "task": file_name(env_id), "embodiment": file_name(env_id)})
    draft.images, draft.fields["images"] = images, sources
    _add_texts(draft, env, reset_info, step_info)
    _add_state(draft, {key: value for key, value in leaves.items() if _is_vector(value)})
    _add_action(draft, space)
    return draft


def _add_texts(draft: Draft, env: gymnasium.Env, reset_info: Mapping[str, Any], step_info: Mapping[str, Any]) -> None:
    instruction = next((key for key in INSTRUCTION_KEYS if isinstance(reset_info.get(key), str)), None)
    success = next((key for key in SUCCESS_KEYS if key in step_info), None)
    rate = env.metadata.get("render_fps")
    limit = env.spec.max_episode_steps if env.spec else None
    keys = ", ".join(map(str, step_info)) or "nothing"
    found = {
        "instruction_key": (instruction, "the text that tells a policy what to do"),
        "success": (success, f"the key of info that holds it, or terminated(); info has {keys}"),
        "rate_hz": (rate and float(rate), "control steps a second"),
        "max_steps": (limit, "the limit of an episode"),
    }
    for name, (value, meaning) in found.items():
        if value:
            draft.fields[name] = value
        else:
            draft.missing[name.removesuffix("_key")] = meaning


def _add_state(draft: Draft, vectors: Mapping[str, np.ndarray]) -> None:
    dim = sum(np.size(value) for value in vectors.values())
    draft.fields["state"] = {
        "keys": tuple(vectors),
        "names": default_names("state", dim),
        "units": ("1",) * dim,
        "frame": "joint",
    }
    if len(vectors) != 1:
        listed = ", ".join(f"{key} ({np.size(value)})" for key, value in vectors.items()) or "no vectors"
        draft.missing["state.keys"] = f"what a robot may feel of the observation's {listed}"


def _add_action(draft: Draft, space: gymnasium.spaces.Box) -> None:
    dim = space.shape[0]
    low, high = tuple(map(float, space.low)), tuple(map(float, space.high))
    draft.fields["action"] = {
        "names": default_names("action", dim),
        "units": ("1",) * dim,
        "kinds": ("absolute",) * dim,
        "frame": "joint",
        "gripper": "none",
    }
    if np.isfinite([*low, *high]).all():
        draft.fields["action"] |= {"low": low, "high": high}
    else:
        draft.missing["action.low"] = draft.missing["action.high"] = f"{dim} numbers, the action space has no limits"


def _leaves(raw: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in the observation."""
    if not isinstance(raw, Mapping):
        yield prefix or OBSERVATION, raw
        return
    for key, value in raw.items():
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))


def _is_vector(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "f"
