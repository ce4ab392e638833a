"""Mapping files: where a gymnasium environment keeps what an episode needs (TOML; `wla init` writes one).

Values that name a source are keys of the environment's observation; dots reach into nested ones ("agent.pos").
`observation()` is the whole observation, `render()` what the environment renders, `terminated()` that it ended.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from wla.config import Config

OBSERVATION, RENDER, TERMINATED = "observation()", "render()", "terminated()"
Frame = Literal["world", "tool", "joint"]
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class ActionMapping(Config):
    """The meaning of the action vector, one entry per dimension.

    low and high stand in where the limits of the environment's own action space are infinite.
    """

    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    kinds: tuple[Literal["absolute", "delta"], ...] | None = None
    low: tuple[FiniteFloat, ...] | None = None
    high: tuple[FiniteFloat, ...] | None = None
    frame: Frame = "joint"
    gripper: str = "none"


class StateMapping(Config):
    """The sources of the state vector, concatenated in this order, and its meaning, one entry per dimension."""

    keys: tuple[str, ...] = Field(min_length=1)
    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    frame: Frame = "joint"


class GymMapping(Config):
    """One gymnasium environment as one task.

    id: as registered; module: whose import registers it, "" where gymnasium or an entry point does. instruction: the
    text of every episode, or else instruction_key: where `info` holds it after a reset. success: where `info` holds
    it after a step, or `terminated()`; the first step that has it ends the episode. rate_hz: control steps a second;
    max_steps: the limit of an episode. images: camera -> source, RGB, uint8 (H, W, 3), the first is the primary
    camera. upside_down: cameras whose rows come from bottom to top. kwargs: of `gymnasium.make`.
    """

    id: str
    module: str = ""
    task: str = Field(pattern=FILE_NAME)
    embodiment: str = Field(pattern=FILE_NAME)
    instruction: str = ""
    instruction_key: str = ""
    success: str = Field(min_length=1)
    rate_hz: float = Field(gt=0)
    max_steps: int = Field(ge=1)
    upside_down: tuple[str, ...] = ()
    images: dict[str, str] = Field(min_length=1)
    state: StateMapping
    action: ActionMapping = ActionMapping()
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        if bool(self.instruction) == bool(self.instruction_key):
            raise ValueError("give instruction (a text) or instruction_key (where info holds it), one of the two")
        unknown = set(self.upside_down) - self.images.keys()
        if unknown:
            raise ValueError(f"upside_down names no camera of images: {', '.join(sorted(unknown))}")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """The mapping in a TOML file. ValueError names the file and the first field that does not fit."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise ValueError(f"{path}: no such mapping file; wla init --env GYM_ID --out {path} writes one") from error
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not TOML ({error})") from error
        except ValidationError as error:
            raise ValueError(f"{path}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    item = error.errors()[0]
    where = ".".join(str(part) for part in item["loc"])
    hint = "; see the comments that wla init --env GYM_ID --out FILE writes"
    return f"{where}: {item['msg']}{hint}" if where else f"{item['msg'].removeprefix('Value error, ')}{hint}"


def file_name(text: str) -> str:
    """The text with everything that does not belong into the names of files replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-") or "environment"
