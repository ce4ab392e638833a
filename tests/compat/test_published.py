"""Round trip between our checkpoints and the published layout: names, values, shards, precision."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import tiny
import tiny_qwen
import torch
from accelerate import init_empty_weights
from full_disk import full_disk
from published_release import OFFICIAL, SECTIONS
from safetensors.torch import load_file, save_file

from wla import weights
from wla.compat.import_policy import _find_preset, import_policy
from wla.compat.parity import count_changed_tensors
from wla.compat.published import export_model, import_model
from wla.compat.published_keys import published_names
from wla.compat.published_sections import require_exportable, sections_of
from wla.data.normalize import NormalizationConfig
from wla.models.wla import WLA
from wla.policy.checkpoint import CheckpointConfig, load_model, save_checkpoint
from wla.presets.wla0 import presets
from wla.weights import WeightFiles, save_weights


def imported(checkpoint: Path, out: Path) -> CheckpointConfig:
    out.mkdir()
    return import_model(checkpoint, out, cameras={"image": 32}, primary="image")


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "ours"
    imported(OFFICIAL, folder)
    return folder


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return Path(shutil.copytree(OFFICIAL, tmp_path / "checkpoint"))


def shard(folder: Path, size: int) -> None:
    """Rewrites the weights of a folder as files of at most about `size` bytes."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "SHARD_SIZE", size)
        save_weights(state, folder / "model.safetensors")


def test_a_repeated_round_trip_changes_nothing(ours, tmp_path):
    export_model(ours, tmp_path / "published")
    assert count_changed_tensors(OFFICIAL, tmp_path / "published") == 0
    config = imported(tmp_path / "published", tmp_path / "again")
    assert config == CheckpointConfig.load(ours / "config.json")
    for name in ("model.safetensors", "passthrough_tensors.safetensors"):
        one, other = load_file(ours / name), load_file(tmp_path / "again" / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    export_model(tmp_path / "again", tmp_path / "twice")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "published" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_the_exported_configuration_equals_the_published_one(ours, tmp_path):
    export_model(ours, tmp_path / "published")
    written = json.loads((tmp_path / "published" / "config.json").read_text())
    for section, fields in SECTIONS.items():
        for name, value in fields.items():
            if isinstance(value, dict):
                assert written[section][name].items() >= value.items(), name
            elif name != "video_token_id":
                assert written[section][name] == value, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_data_type_of_the_weights_is_kept(dtype, checkpoint, tmp_path):
    state = {key: value.to(dtype) for key, value in load_file(checkpoint / "model.safetensors").items()}
    save_file(state, checkpoint / "model.safetensors")
    config = imported(checkpoint, tmp_path / "ours")
    assert config.dtype == str(dtype).removeprefix("torch.")
    model = load_model(config, tmp_path / "ours" / "model.safetensors")
    assert {value.dtype for value in model.state_dict().values()} == {dtype}
    export_model(tmp_path / "ours", tmp_path / "published")
    assert count_changed_tensors(checkpoint, tmp_path / "published") == 0


def test_tensors_of_mixed_precision_survive_a_round_trip(checkpoint, tmp_path):
    state = load_file(checkpoint / "model.safetensors")
    state = {key: value if "vae" in key or "norm" in key else value.bfloat16() for key, value in state.items()}
    save_file(state, checkpoint / "model.safetensors")
    imported(checkpoint, tmp_path / "ours")
    export_model(tmp_path / "ours", tmp_path / "published")
    assert count_changed_tensors(checkpoint, tmp_path / "published") == 0


def test_shards_are_imported_and_exported(checkpoint, tmp_path, monkeypatch):
    shard(checkpoint, 600_000)
    assert len(list(checkpoint.glob("model-0000?-of-*.safetensors"))) > 4
    monkeypatch.setattr(weights, "SHARD_SIZE", 900_000)
    config = imported(checkpoint, tmp_path / "ours")
    assert (tmp_path / "ours" / "model.safetensors.index.json").is_file()
    assert not (tmp_path / "ours" / "model.safetensors").exists()
    load_model(config, tmp_path / "ours" / "model.safetensors")
    export_model(tmp_path / "ours", tmp_path / "published")
    index = json.loads((tmp_path / "published" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    for name in set(index["weight_map"].values()):
        assert sum(value.nbytes for value in load_file(tmp_path / "published" / name).values()) <= 900_000
    assert count_changed_tensors(OFFICIAL, tmp_path / "published") == 0
    assert count_changed_tensors(checkpoint, tmp_path / "published") == 0


def test_shards_load_without_imagination(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_SIZE", 500_000)
    config = imported(checkpoint, tmp_path / "ours")
    model = load_model(config, tmp_path / "ours" / "model.safetensors", imagination=False)
    assert model.world_expert is None
    expected = load_file(OFFICIAL / "model.safetensors")["model.action_expert.model.norm_out.weight"]
    assert torch.equal(model.action_expert.final_norm.weight, expected)


BAD_INDEX = {
    "not JSON": ("{", "index.json: damaged JSON"),
    "a list": ("[]", "index.json: is a list, not a JSON object"),
    "no map": ("{}", "damaged index"),
    "an empty map": ('{"weight_map": {}}', "damaged index"),
    "a map of numbers": ('{"weight_map": {"a": 1, "b": "x"}}', "damaged index"),
    "a map that is a list": ('{"weight_map": []}', "damaged index"),
    "a shard that is absent": ('{"weight_map": {"a": "model-9.safetensors"}}', "model-9.safetensors: file is missing"),
    "a shard in another folder": ('{"weight_map": {"a": "../model.safetensors"}}', "damaged index"),
}


@pytest.mark.parametrize("name", BAD_INDEX)
def test_a_damaged_index_is_an_error(name, checkpoint):
    text, message = BAD_INDEX[name]
    shard(checkpoint, 600_000)
    (checkpoint / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        WeightFiles(checkpoint / "model.safetensors")
    assert "\n" not in str(caught.value)


def test_a_missing_shard_is_an_error(checkpoint, tmp_path):
    shard(checkpoint, 600_000)
    next(checkpoint.glob("model-00002-*")).unlink()
    with pytest.raises(ValueError, match=r"model-00002-of-.*safetensors: file is missing; copy or train it again"):
        imported(checkpoint, tmp_path / "ours")


def test_a_policy_that_was_trained_here_is_exported_with_its_tokenizer_and_statistics(tmp_path):
    save_checkpoint(tiny_qwen.checkpoint(), tmp_path / "trained")
    export_model(tmp_path / "trained", tmp_path / "published")
    names = sorted(path.name for path in (tmp_path / "published").iterdir())
    assert names == ["config.json", "model.safetensors", "norm_stats.json", "tokenizer.json"]
    assert json.loads((tmp_path / "published" / "norm_stats.json").read_text())["toy"]["action"]["max"] == [0.1, 0.1]
    (tmp_path / "again").mkdir()
    config = tiny_qwen.model_config()
    import_model(tmp_path / "published", tmp_path / "again", cameras=config.backbone.cameras, primary="front")
    again = CheckpointConfig.load(tmp_path / "again" / "config.json")
    assert again.model.backbone == config.backbone
    assert again.model.queries == config.queries
    assert again.model.action_expert == config.action_expert
    assert again.model.codec == config.codec
    model = load_model(again, tmp_path / "again" / "model.safetensors")
    expected = load_file(tmp_path / "trained" / "model.safetensors")
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def changed_config(part: str, **fields: object) -> CheckpointConfig:
    config = tiny_qwen.model_config()
    changed = getattr(config, part).replace(**fields)
    return CheckpointConfig(model=config.replace(**({part: changed})), prompt=tiny_qwen.prompt_config(language=False))


CONNECTOR = tiny_qwen.model_config().world_expert.connector
UNPUBLISHED = {
    "other order of blocks": ("action_expert", {"first_cross": 1}),
    "an additional norm": ("world_expert", {"connector": CONNECTOR.replace(final_norm=True)}),
    "other heads": ("world_expert", {"connector": CONNECTOR.replace(head_width=32)}),
    "another MLP": ("world_expert", {"connector": CONNECTOR.replace(mlp=100)}),
    "other rotary base": ("world_expert", {"connector": CONNECTOR.replace(rope_theta=5.0)}),
    "other query ids": ("queries", {"end": 511}),
}


@pytest.mark.parametrize("name", UNPUBLISHED)
def test_a_model_that_the_layout_cannot_express_is_not_exported(name, tmp_path):
    """Otherwise the exported folder would be another model."""
    part, fields = UNPUBLISHED[name]
    config = changed_config(part, **fields)
    (tmp_path / "trained").mkdir()
    config.save(tmp_path / "trained" / "config.json")
    save_weights(WLA(config.model).state_dict(), tmp_path / "trained" / "model.safetensors")
    with pytest.raises(ValueError, match=r"published (layout|configuration)") as caught:
        export_model(tmp_path / "trained", tmp_path / "published")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["trained"]


def test_a_nano_policy_is_not_exported(tmp_path):
    save_checkpoint(tiny.checkpoint(), tmp_path / "nano")
    with pytest.raises(ValueError, match="only models with the Qwen3-VL backbone have a published layout"):
        export_model(tmp_path / "nano", tmp_path / "published")
    assert [path.name for path in tmp_path.iterdir()] == ["nano"]


def test_a_policy_with_other_normalisation_is_not_exported(tmp_path):
    checkpoint = tiny_qwen.checkpoint()
    save_checkpoint(checkpoint, tmp_path / "trained")
    modes = NormalizationConfig(action="MEAN_STD")
    checkpoint.config.replace(normalization=modes).save(tmp_path / "trained" / "config.json")
    with pytest.raises(ValueError, match="MIN_MAX and MEAN_STD; the published layout has MIN_MAX alone"):
        export_model(tmp_path / "trained", tmp_path / "published")


def test_an_existing_folder_is_unchanged(ours, tmp_path):
    (tmp_path / "published").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        export_model(ours, tmp_path / "published")
    assert list((tmp_path / "published").iterdir()) == []


def test_weights_that_do_not_fit_their_configuration_are_not_exported(ours, tmp_path):
    folder = Path(shutil.copytree(ours, tmp_path / "ours"))
    state = load_file(folder / "model.safetensors")
    del state["world_expert.connector.project.0.weight"]
    save_file({**state, "more": torch.zeros(1)}, folder / "model.safetensors")
    message = r"does not fit its config.json: missing world_expert.connector.project.0.weight; extra more$"
    with pytest.raises(ValueError, match=message):
        export_model(folder, tmp_path / "published")
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


@pytest.mark.parametrize("limit", [0, 100_000])
def test_a_full_disk_leaves_no_export_behind(limit, ours, tmp_path):
    with (
        full_disk(limit),
        pytest.raises(ValueError, match=r"published: cannot write .*nothing was left behind") as caught,
    ):
        export_model(ours, tmp_path / "published")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_after_the_first_shard_leaves_no_export_behind(ours, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_SIZE", 300_000)
    with full_disk(298_000), pytest.raises(ValueError, match=r"cannot write"):
        export_model(ours, tmp_path / "published")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", presets())
def test_every_preset_can_be_exported(name):
    config = presets()[name].model
    with init_empty_weights():
        own = weights.shapes(WLA(config).state_dict())
    shapes = {name: own[ours] for name, ours in published_names(own).items()}
    require_exportable(config, sections_of(config), shapes)
    assert len(shapes) == len(own)
    total = sum(math.prod(shape) for shape in shapes.values())
    assert 3.3e9 < total < 3.6e9


LM_HEAD = "model.mllm_backbone.lm_head.weight"


def test_a_tied_output_embedding_survives_a_round_trip(tmp_path):
    shutil.copytree(OFFICIAL, tmp_path / "release")
    stored = load_file(OFFICIAL / "model.safetensors")
    embedding = stored["model.mllm_backbone.model.language_model.embed_tokens.weight"]
    save_file({**stored, LM_HEAD: embedding.clone()}, tmp_path / "release" / "model.safetensors")
    import_policy(tmp_path / "release", tmp_path / "ours")
    export_model(tmp_path / "ours", tmp_path / "published")
    assert count_changed_tensors(tmp_path / "release", tmp_path / "published") == 0


def test_the_prompt_survives_a_round_trip(tmp_path):
    folder = tmp_path / "release"
    shutil.copytree(OFFICIAL, folder)
    tree = json.loads((folder / "config.json").read_text())
    tree["wla"] |= {"training_mode": "image_action_language"}
    (folder / "config.json").write_text(json.dumps(tree))
    import_policy(folder, tmp_path / "ours")
    export_model(tmp_path / "ours", tmp_path / "published")
    import_policy(tmp_path / "published", tmp_path / "again")
    ours, again = (CheckpointConfig.load(tmp_path / name / "config.json") for name in ("ours", "again"))
    assert ours.prompt.language
    assert again == ours


def test_dimensions_of_two_presets_require_a_name():
    sizes = {"max_state_dim": 14, "max_action_dim": 14, "chunk_size": 32}
    with pytest.raises(ValueError, match="give --preset wla0_robotwin_videos or wla0_rmbench"):
        _find_preset(sizes, None, None)
    assert _find_preset(sizes, True, None).prompt.language
    assert not _find_preset(sizes, False, None).prompt.language
