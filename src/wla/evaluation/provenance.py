"""What running an evaluation again needs, as its `summary.json` states it."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from wla.config import Record
from wla.evaluation.configs import EvalConfig
from wla.hardware import loaded_hardware
from wla.policy.hub import resolve


class Provenance(Record):
    """The last command that evaluated into a folder.

    scorer_sha256: of the value model or goal image that selects among candidates; None without. hardware: see
    `wla.hardware.loaded_hardware`.
    """

    command: str
    config: EvalConfig
    scorer_sha256: str | None
    hardware: dict[str, str]


def provenance(config: EvalConfig, out: Path) -> Provenance:
    """Returns what this process evaluates with, after the policy was loaded."""
    plain = EvalConfig(**{name: getattr(config, name) for name in EvalConfig.model_fields})
    return Provenance(
        command=command_line(plain, out),
        config=plain,
        scorer_sha256=scorer_sha256(plain),
        hardware=loaded_hardware(),
    )


def command_line(config: EvalConfig, out: Path) -> str:
    """Returns the `wla eval` of a configuration, to be pasted into a shell."""
    words = ["wla", "eval", config.policy]
    for name, field in EvalConfig.model_fields.items():
        value = getattr(config, name)
        if field.is_required() or value == field.default:
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join([*words, "--out", str(out)])


def scorer_sha256(config: EvalConfig) -> str | None:
    """Returns the fingerprint of what scores candidates: a value model's files but its card, or a goal image.

    ValueError where it is not there.
    """
    if config.value is not None:
        folder = resolve(config.value, "value model")
        files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix != ".md")
    elif config.goal is not None:
        files = [Path(config.goal)]
    else:
        return None
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
