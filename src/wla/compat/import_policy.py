"""Everything that acting needs, from what is published: weights, tokenizer, statistics, and the robot they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from wla.compat.published import PUBLISHED_STATISTICS, import_model
from wla.compat.published_config import WLA, read_sections
from wla.data.prompts.chat import (
    END,
    IMAGE,
    PAD,
    QWEN_SPECIAL_TOKENS,
    VISION_END,
    VISION_START,
    ChatPromptConfig,
    add_queries,
)
from wla.data.prompts.tokenizer import save_tokenizer
from wla.data.published_statistics import read_published
from wla.files import atomic_dir, disk_errors
from wla.models.backbones.qwen3_vl import QwenBackboneConfig
from wla.models.model import require_config
from wla.models.wla import WLAConfig
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.checkpoint_files import ROBOT, STATISTICS, TOKENIZER
from wla.presets.wla0 import Preset, presets

GENERIC_CAMERAS = {"history image": 256, "image": 256}
"""Images of a model that is for no robot we know."""


def import_policy(
    checkpoint: Path,
    out: Path,
    *,
    vlm: Path | None = None,
    sana: Path | None = None,
    preset: str | None = None,
    statistics: Path | None = None,
    entry: str | None = None,
) -> list[str]:
    """Write our checkpoint into the new folder `out`; what it still lacks for acting, one line each.

    preset: the published model that this one is (None: the one with its dimensions). statistics: a JSON file in the
    published form (None: the one beside the weights), entry: the dataset in it. ValueError in one line, with nothing
    left behind, when something does not fit.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; import into a new folder, or remove it first")
    published = read_sections(checkpoint, vlm, sana)[WLA]
    mode = published.get("training_mode")
    predicts_subtasks = "language" in str(mode or "")
    chosen = _preset(published, predicts_subtasks if mode else None, preset)
    lacks = []
    with (
        disk_errors(out, "nothing was left behind; free disk space or choose another --out"),
        atomic_dir(out) as fresh,
    ):
        cameras = chosen.model.backbone.cameras if chosen else GENERIC_CAMERAS
        config = import_model(
            checkpoint,
            fresh,
            vlm=vlm,
            sana=sana,
            cameras=cameras,
            primary=chosen.robot.observation.primary_camera if chosen else "image",
            prompt=chosen.prompt if chosen else ChatPromptConfig(language=predicts_subtasks),
        )
        if chosen:
            config.model.interface.require_robot(chosen.robot, model=str(checkpoint), robot=f"preset {preset}")
            chosen.robot.save(fresh / ROBOT)
        else:
            lacks.append(f"{ROBOT}: no published model has these dimensions; write it for your robot")
        lacks += _tokenizer(config, checkpoint, vlm, fresh)
        lacks += _statistics(config, checkpoint, statistics, entry, fresh)
    return lacks


def _preset(published: dict[str, Any], predicts_subtasks: bool | None, name: str | None) -> Preset | None:
    """speaks: None when the configuration does not say. ValueError when two published models fit."""
    known = presets()
    if name is not None:
        if name not in known:
            raise ValueError(f"no preset {name!r}; there are {', '.join(known)}")
        return known[name]
    asked = tuple(published.get(key) for key in ("max_state_dim", "max_action_dim", "chunk_size"))
    fitting = [
        name
        for name, preset in known.items()
        if asked == tuple(getattr(preset.model.action_expert, key) for key in ("state_dim", "action_dim", "chunk"))
        and predicts_subtasks in (None, preset.prompt.language)
    ]
    if len(fitting) > 1:
        raise ValueError(f"the configuration fits several published models: say --preset {' or '.join(fitting)}")
    return known[fitting[0]] if fitting else None


def _tokenizer(config: CheckpointConfig, checkpoint: Path, vlm: Path | None, out: Path) -> list[str]:
    found = [folder / TOKENIZER for folder in (checkpoint, vlm) if folder and (folder / TOKENIZER).is_file()]
    if not found:
        return [f"{TOKENIZER}: neither the checkpoint nor --vlm has one; give the folder of the Qwen3-VL model"]
    path = found[0]
    try:
        core = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise ValueError(f"{path}: damaged or no tokenizer ({error}); copy it again") from error
    missing = [word for word in QWEN_SPECIAL_TOKENS if core.token_to_id(word) is None]
    if missing:
        raise ValueError(f"{path}: lacks the Qwen words {', '.join(missing)}; give the tokenizer of a Qwen3-VL model")
    model = require_config(config.model, WLAConfig, str(checkpoint))
    backbone = model.backbone
    assert isinstance(backbone, QwenBackboneConfig)
    wanted = {IMAGE: backbone.image_token, VISION_START: backbone.vision_start, VISION_END: backbone.vision_end}
    for word, index in wanted.items():
        if core.token_to_id(word) != index:
            raise ValueError(
                f"{path}: {word} is word {core.token_to_id(word)}, the model's is {index}; give the tokenizer that "
                "belongs to the model"
            )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, eos_token=END)
    try:
        add_queries(tokenizer, first=model.queries.begin, queries=model.queries.count)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    save_tokenizer(tokenizer, out / TOKENIZER)
    return []


def _statistics(
    config: CheckpointConfig, checkpoint: Path, path: Path | None, entry: str | None, out: Path
) -> list[str]:
    beside = [checkpoint / name for name in PUBLISHED_STATISTICS if (checkpoint / name).is_file()]
    if path is None and not beside:
        return [f"{STATISTICS}: none beside the weights; give the published JSON with --statistics"]
    sizes, chosen = config.model.interface, path or beside[0]
    statistics = read_published(chosen, entry, state_dim=sizes.state_dim, action_dim=sizes.action_dim)
    if statistics.action is None:
        raise ValueError(f"{chosen}: the entry has no actions; give statistics of a dataset that has some")
    statistics.save(out / STATISTICS)
    return []
