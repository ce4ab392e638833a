"""Import of a published policy: weights, tokenizer, statistics and robot spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from wla.compat.published import import_model
from wla.compat.published_config import WLA, read_sections
from wla.compat.published_files import PUBLISHED_STATISTICS
from wla.data.prompts.chat import END, IMAGE, PAD, QWEN_SPECIAL_TOKENS, VISION_END, VISION_START, add_queries
from wla.data.prompts.configs import ChatPromptConfig
from wla.data.prompts.tokenizer import save_tokenizer
from wla.data.published_statistics import read_published
from wla.files import atomic_dir, disk_errors
from wla.models.backbones.configs import QwenBackboneConfig
from wla.models.configs import WLAConfig
from wla.models.model_config import require_config
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.checkpoint_files import ROBOT, STATISTICS, TOKENIZER
from wla.presets.wla0 import Preset, presets

GENERIC_CAMERAS = {"history image": 256, "image": 256}
"""Images of a model for an unknown robot: name -> side, pixels."""


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
    """Converts a published policy into one of our checkpoints.

    Args:
        checkpoint: published checkpoint.
        out: new folder.
        vlm: folder of the Qwen3-VL model, for what the checkpoint does not contain.
        sana: folder of the Sana model, for what the checkpoint does not contain.
        preset: name of the published model; None for the one with the same dimensions.
        statistics: JSON file in the published format; None for the one beside the weights.
        entry: dataset in the statistics file; None for the only one.

    Returns:
        Files that are still missing for acting, with the reason, one line each.

    Raises:
        ValueError: the parts do not fit together, a file is damaged, or `out` exists; nothing is left behind.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; import into a new folder, or remove it first")
    published = read_sections(checkpoint, vlm, sana)[WLA]
    mode = published.get("training_mode")
    predicts_subtasks = "language" in str(mode or "")
    found = _find_preset(published, predicts_subtasks if mode else None, preset)
    missing = []
    with (
        disk_errors(out, "nothing was left behind; free disk space or choose another --out"),
        atomic_dir(out) as target,
    ):
        config = import_model(
            checkpoint,
            target,
            vlm=vlm,
            sana=sana,
            cameras=found.model.backbone.cameras if found else GENERIC_CAMERAS,
            primary=found.robot.observation.primary_camera if found else "image",
            prompt=found.prompt if found else ChatPromptConfig(language=predicts_subtasks),
        )
        if found:
            config.model.interface.require_robot(found.robot, model=str(checkpoint), robot=f"preset {preset}")
            found.robot.save(target / ROBOT)
        else:
            missing.append(f"{ROBOT}: no published model has these dimensions; write it for your robot")
        missing += _import_tokenizer(config, checkpoint, vlm, target)
        missing += _import_statistics(config, checkpoint, statistics, entry, target)
    return missing


def _find_preset(published: dict[str, Any], predicts_subtasks: bool | None, name: str | None) -> Preset | None:
    """Returns the published model with this name or these dimensions; None when no model has them.

    Args:
        published: `wla` section of the configuration.
        predicts_subtasks: whether the model predicts subtasks; None for a configuration without this field.
        name: of the preset; None to search by dimensions.

    Raises:
        ValueError: the name is unknown, or several published models have these dimensions.
    """
    known = presets()
    if name is not None:
        if name not in known:
            raise ValueError(f"no preset {name!r}; there are {', '.join(known)}")
        return known[name]
    dimensions = tuple(published.get(key) for key in ("max_state_dim", "max_action_dim", "chunk_size"))
    matching = [
        name
        for name, preset in known.items()
        if dimensions == tuple(getattr(preset.model.action_expert, key) for key in ("state_dim", "action_dim", "chunk"))
        and predicts_subtasks in (None, preset.prompt.language)
    ]
    if len(matching) > 1:
        raise ValueError(f"the configuration fits several published models; give --preset {' or '.join(matching)}")
    return known[matching[0]] if matching else None


def _import_tokenizer(config: CheckpointConfig, checkpoint: Path, vlm: Path | None, out: Path) -> list[str]:
    paths = [folder / TOKENIZER for folder in (checkpoint, vlm) if folder and (folder / TOKENIZER).is_file()]
    if not paths:
        return [f"{TOKENIZER}: neither the checkpoint nor --vlm has one; give the folder of the Qwen3-VL model"]
    path = paths[0]
    try:
        core = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"{path}: damaged or not a tokenizer ({error}); copy it again") from error
    missing = [token for token in QWEN_SPECIAL_TOKENS if core.token_to_id(token) is None]
    if missing:
        raise ValueError(f"{path}: lacks the Qwen tokens {', '.join(missing)}; give the tokenizer of a Qwen3-VL model")
    model = require_config(config.model, WLAConfig, str(checkpoint))
    backbone = model.backbone
    assert isinstance(backbone, QwenBackboneConfig)
    expected = {IMAGE: backbone.image_token, VISION_START: backbone.vision_start, VISION_END: backbone.vision_end}
    for token, index in expected.items():
        if core.token_to_id(token) != index:
            raise ValueError(
                f"{path}: {token} has id {core.token_to_id(token)}, the model's is {index}; give the tokenizer that "
                "belongs to the model"
            )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, eos_token=END)
    try:
        add_queries(tokenizer, first=model.queries.begin, queries=model.queries.count)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    save_tokenizer(tokenizer, out / TOKENIZER)
    return []


def _import_statistics(
    config: CheckpointConfig, checkpoint: Path, path: Path | None, entry: str | None, out: Path
) -> list[str]:
    if path is None:
        path = next((checkpoint / name for name in PUBLISHED_STATISTICS if (checkpoint / name).is_file()), None)
    if path is None:
        return [f"{STATISTICS}: none beside the weights; give the published JSON with --statistics"]
    sizes = config.model.interface
    statistics = read_published(path, entry, state_dim=sizes.state_dim, action_dim=sizes.action_dim)
    if statistics.action is None:
        raise ValueError(f"{path}: the entry has no actions; give statistics of a dataset with actions")
    statistics.save(out / STATISTICS)
    return []
