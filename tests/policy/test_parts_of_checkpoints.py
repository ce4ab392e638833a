"""The parts of a checkpoint are compared with each other, and sizes with the weights before anything is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_qwen

from wla.policy.checkpoint import load_checkpoint, save_checkpoint
from wla.policy.hub import bundled
from wla.policy.value_checkpoint import load_value
from wla.training.objectives.pretrained_backbone import load_backbone

HUGE = 2**31
TOKENS = {
    "model.backbone.image_token": (4, "the image token is 4 for the model and 3 in its prompts"),
    "model.queries.first": (20, "the first meta-query is 20 for the model and 14"),
    "model.queries.begin": (3, "the begin marker is 3 for the model and 12"),
    "model.queries.end": (3, "the end marker is 3 for the model and 13"),
    "model.queries.count": (2, "the number of meta-queries is 2 for the model and 3"),
    "prompt.queries": (2, "the number of meta-queries is 3 for the model and 2"),
    "prompt.locations": (4, "the prompts use 4 location tokens and the tokenizer has more"),
}
SIZES = {
    "model.backbone.layers": HUGE,
    "model.backbone.width": HUGE,
    "model.backbone.vocabulary": HUGE,
    "model.backbone.cameras": {"front": HUGE, "wrist": 16},
    "model.action_expert.layers": HUGE,
    "model.action_expert.chunk": HUGE,
    "model.world_expert.layers": HUGE,
    "model.world_expert.latent_size": HUGE,
    "model.codec.encoder_layers_per_block": [0, 1, HUGE],
    "model.codec.decoder_layers_per_block": [0, 1, HUGE],
    "model.queries.count": HUGE,
    "prompt.queries": HUGE,
    "prompt.locations": HUGE,
    "replan_steps": 5,
}


def edit(path: Path, field: str, value: Any) -> None:
    tree = node = json.loads(path.read_text())
    *parents, last = field.split(".")
    for name in parents:
        node = node[name]
    node[last] = value
    path.write_text(json.dumps(tree))


@pytest.fixture(scope="module", params=[tiny, tiny_qwen], ids=["nano", "chat"])
def saved(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "checkpoint"
    save_checkpoint(request.param.checkpoint(), folder)
    return folder


def refused(load: Callable[[Path], object], folder: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("field", TOKENS)
def test_tokens_of_the_model_are_those_of_its_prompts(tmp_path, field):
    folder = tmp_path / "checkpoint"
    save_checkpoint(tiny.checkpoint(), folder)
    value, message = TOKENS[field]
    edit(folder / "config.json", field, value)
    refused(load_checkpoint, folder, message)


@pytest.mark.parametrize("field", ["image_token", "vision_start"])
def test_tokens_of_a_chat_model_are_those_of_its_prompts(tmp_path, field):
    folder = tmp_path / "checkpoint"
    save_checkpoint(tiny_qwen.checkpoint(), folder)
    edit(folder / "config.json", f"model.backbone.{field}", 401)
    refused(load_checkpoint, folder, "is 401 for the model and 50")


@pytest.mark.parametrize("field", SIZES)
def test_sizes_that_no_model_has_are_refused_at_once(tmp_path, field):
    folder = tmp_path / "checkpoint"
    save_checkpoint(tiny.checkpoint(), folder)
    edit(folder / "config.json", field, SIZES[field])
    refused(load_checkpoint, folder, "config.json")


@pytest.mark.parametrize("name", ["config.json", "statistics.json", "robot.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content",
    ["[" * 200_000, '{"a":' * 200_000, "", "null", "\0" * 100],
    ids=["deep list", "deep", "empty", "null", "zeros"],
)
def test_a_damaged_file_is_named(saved, tmp_path, name, content):
    folder = shutil.copytree(saved, tmp_path / "checkpoint")
    (folder / name).write_text(content)
    refused(load_checkpoint, folder, name)


@pytest.mark.parametrize(
    ("bundle", "file", "load", "where"),
    [("nano-value", "value.json", load_value, "model.backbone"), ("nano-base", "base.json", load_backbone, "backbone")],
)
def test_other_checkpoints_are_compared_as_well(tmp_path, bundle, file, load, where):
    for field, value in (("image_token", 5), ("layers", HUGE), ("mlp", 100_000)):
        folder = shutil.copytree(bundled()[bundle], tmp_path / field)
        edit(folder / file, f"{where}.{field}", value)
        refused(load, folder, "image token is 5|less than or equal|does not fit")
