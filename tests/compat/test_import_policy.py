"""Import of published policies in all usual forms, and errors for defective ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import libero_world
import numpy as np
import published_release
import pytest
import tiny_qwen
import torch
from bad_releases import BAD
from full_disk import full_disk
from published_release import Release
from safetensors.torch import load_file, save_file

import wla
from wla.compat.import_policy import import_policy
from wla.envs.libero.env import LiberoEnv
from wla.envs.libero.family import FAMILY as LIBERO
from wla.policy.checkpoint import CheckpointConfig
from wla.presets.wla0 import presets
from wla.robots.libero import libero_robot
from wla.rollout.episode import run_episode
from wla.rollout.results import TaskVariant
from wla.specs import RobotSpec
from wla.types import Observation


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Release:
    return published_release.write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def release(pristine, tmp_path) -> Release:
    root = Path(shutil.copytree(pristine.checkpoint.parent, tmp_path / "release"))
    return Release(*(root / name for name in ("checkpoint", "vlm", "sana")))


def observation(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 256, (256, 256, 3), dtype=np.uint8) for name in ("image", "wrist_image")}
    return Observation(images=images, state=rng.uniform(-1, 1, 8).astype(np.float32))


def refused(release: Release, out: Path, **options: Any) -> str:
    """Returns the one-line error of an import, which leaves no files behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(ValueError, match=r".") as caught:
        import_policy(release.checkpoint, out, **{**release.folders(), **options})
    assert sorted(out.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_imported_release_acts(release, tmp_path):
    assert import_policy(release.checkpoint, tmp_path / "ours", **release.folders()) == []
    policy = wla.load_policy(tmp_path / "ours", imagination=True)
    assert policy.robot_spec.embodiment == "libero_panda"
    chunk, carry = policy.act(observation(), policy.reset("open the drawer"), imagine=True)
    assert chunk.actions.shape == (8, 7)
    assert chunk.subgoal.shape == (8, 8, 3)
    assert chunk.subtasks == ()
    other, _ = policy.act(observation(1), carry)
    assert not np.array_equal(other.actions, chunk.actions)
    without_imagination = wla.load_policy(tmp_path / "ours")
    same, _ = without_imagination.act(observation(), without_imagination.reset("open the drawer"))
    np.testing.assert_array_equal(same.actions, chunk.actions)


def test_an_imported_release_runs_in_libero_under_the_protocol_of_its_gripper(release, tmp_path, monkeypatch):
    """Shapes, order and un-normalisation: with random weights nothing succeeds."""
    simulator = libero_world.install(monkeypatch)
    import_policy(release.checkpoint, tmp_path / "ours", **release.folders())
    policy = wla.load_policy(tmp_path / "ours")
    task = LIBERO.groups["libero_object"][0]
    env = LiberoEnv(task, protocol="oft")
    env.max_steps = 9  # a chunk and the beginning of the next
    variant = TaskVariant("libero", task, "default", "panda", "oft")
    result = run_episode(env, policy, 300_002, variant=variant, policy_name="release")
    assert (result.outcome, result.steps, result.error) == ("failure", 9, None)
    assert simulator.starts == [(7, 2)]
    with pytest.raises(ValueError, match=r"action\.gripper is '0 closed \.\. 1 open' in policy release and '-1 open"):
        run_episode(LiberoEnv(task), policy, 300_002, variant=variant, policy_name="release")


def test_the_checkpoint_contains_configuration_robot_and_statistics(release, tmp_path):
    out = tmp_path / "deep" / "ours"
    import_policy(release.checkpoint, out, **release.folders())
    config = CheckpointConfig.load(out / "config.json")
    model = config.model
    assert model.backbone.cameras == {"history image": 256, "image": 256, "wrist_image": 256}
    assert model.backbone.text.rope_theta == 5_000_000
    assert model.backbone.text.mrope_section == (4, 2, 2)
    assert (model.queries.begin, model.queries.first, model.queries.count) == (512, 514, 8)
    assert model.world_expert.sampling_shift == 3.0
    assert config.prompt.queries == 8
    assert config.dtype == "float32"
    assert RobotSpec.load(out / "robot.json") == libero_robot()
    assert json.loads((out / "statistics.json").read_text())["action"]["max"] == [1.0] * 7


def sectioned(release: Release) -> dict[str, Any]:
    """Moves all four configurations into the checkpoint's own config.json, with only the tokenizer beside it."""
    shutil.copy(published_release.OFFICIAL / "config.json", release.checkpoint / "config.json")
    shutil.copy(release.vlm / "tokenizer.json", release.checkpoint / "tokenizer.json")
    return {"vlm": None, "sana": None}


def old_rope(release: Release) -> dict[str, Any]:
    (release.vlm / "config.json").write_text(json.dumps(published_release.SECTIONS["qwen3_vl"]))
    return {}


def no_scheduler(release: Release) -> dict[str, Any]:
    shutil.rmtree(release.sana / "scheduler")
    return {}


def separate_codec(release: Release) -> dict[str, Any]:
    weights = load_file(release.checkpoint / "model.safetensors")
    vae = {name.removeprefix("vae."): value for name, value in weights.items() if name.startswith("vae.")}
    save_file(vae, release.sana / "vae" / "diffusion_pytorch_model.safetensors")
    release.edit_weights(lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("vae.")])
    return {}


def tied_head(release: Release) -> dict[str, Any]:
    def add(weights: dict[str, torch.Tensor]) -> None:
        embedding = weights["model.mllm_backbone.model.language_model.embed_tokens.weight"]
        weights["model.mllm_backbone.lm_head.weight"] = embedding.clone()

    release.edit_weights(add)
    return {}


def statistics_elsewhere(release: Release) -> dict[str, Any]:
    tree = {**published_release.STATISTICS, "other": published_release.STATISTICS["libero"]}
    (release.checkpoint / "norm_stats.json").unlink()
    tiny_qwen.write_json(release.checkpoint.parent / "elsewhere.json", tree)
    return {"statistics": release.checkpoint.parent / "elsewhere.json", "entry": "libero"}


def named(release: Release) -> dict[str, Any]:
    return {"preset": "wla0_libero"}


def prepared_tokenizer(release: Release) -> dict[str, Any]:
    """Replaces the tokenizer by one that contains markers and meta-queries already, like an export."""
    core = tiny_qwen.qwen_core()
    names = [f"<pad_token_{i}>" for i in range(8)]
    core.add_special_tokens([*names, "<begin_of_img>", "<end_of_img>", *(f"<img{i}>" for i in range(8))])
    (release.checkpoint / "tokenizer.json").write_text(core.to_str())
    return {}


FORMS = (sectioned, old_rope, no_scheduler, separate_codec, tied_head, statistics_elsewhere, named, prepared_tokenizer)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_of_a_release_becomes_the_same_policy(form, pristine, release, tmp_path):
    import_policy(pristine.checkpoint, tmp_path / "expected", **pristine.folders())
    assert import_policy(release.checkpoint, tmp_path / "ours", **{**release.folders(), **form(release)}) == []
    expected, ours = (load_file(tmp_path / name / "model.safetensors") for name in ("expected", "ours"))
    assert expected.keys() == ours.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    policies = [wla.load_policy(tmp_path / name) for name in ("expected", "ours")]
    chunks = [policy.act(observation(), policy.reset("open the drawer"))[0] for policy in policies]
    np.testing.assert_array_equal(chunks[0].actions, chunks[1].actions)
    configs = [CheckpointConfig.load(tmp_path / name / "config.json").model.backbone for name in ("expected", "ours")]
    assert configs[0] == configs[1]


def test_a_release_in_half_precision_stays_in_half_precision(release, tmp_path):
    release.edit_weights(
        lambda weights: weights.update({name: value.bfloat16() for name, value in weights.items()})
    )  # fmt: skip
    import_policy(release.checkpoint, tmp_path / "ours", **release.folders())
    assert {value.dtype for value in load_file(tmp_path / "ours" / "model.safetensors").values()} == {torch.bfloat16}
    policy = wla.load_policy(tmp_path / "ours", imagination=True, device="cpu")
    assert {value.dtype for value in policy.model.state_dict().values()} == {torch.bfloat16}
    chunk, _ = policy.act(observation(), policy.reset("open the drawer"), imagine=True)
    assert chunk.actions.dtype == np.float32
    assert np.isfinite(chunk.actions).all()


def test_a_codec_in_full_precision_with_a_model_in_half_precision(release, tmp_path):
    """This is the usual precision of a Sana folder, for a checkpoint without a codec."""
    separate_codec(release)
    release.edit_weights(
        lambda weights: weights.update({name: value.bfloat16() for name, value in weights.items()})
    )  # fmt: skip
    import_policy(release.checkpoint, tmp_path / "ours", **release.folders())
    policy = wla.load_policy(tmp_path / "ours", imagination=True, device="cpu")
    chunk, _ = policy.act(observation(), policy.reset("open the drawer"), imagine=True)
    assert chunk.subgoal.shape == (8, 8, 3)


def test_files_that_are_missing_for_acting_are_listed(release, tmp_path):
    (release.vlm / "tokenizer.json").unlink()
    (release.checkpoint / "norm_stats.json").unlink()
    release.edit(release.checkpoint / "config.json", lambda tree: tree.update(chunk_size=6))
    missing = import_policy(release.checkpoint, tmp_path / "ours", **release.folders())
    assert [line.partition(":")[0] for line in missing] == ["robot.json", "tokenizer.json", "statistics.json"]
    with pytest.raises(ValueError, match=r"statistics.json, robot.json missing"):
        wla.load_policy(tmp_path / "ours")


def for_robot(release: Release, *, state: int, action: int, chunk: int, mode: str) -> None:
    """Changes the release to the dimensions of another robot, with random weights where sizes change."""

    def resize(tensors: dict[str, torch.Tensor]) -> None:
        expert = "model.action_expert."
        tensors[f"{expert}state_encoder.layer1.weight"] = 0.1 * torch.randn(1024, state)
        tensors[f"{expert}action_encoder.layer1.weight"] = 0.1 * torch.randn(32, action)
        tensors[f"{expert}action_decoder.layer2.weight"] = 0.1 * torch.randn(action, 1024)
        tensors[f"{expert}action_decoder.layer2.bias"] = torch.zeros(action)

    torch.manual_seed(0)
    release.edit_weights(resize)
    fields = {"max_state_dim": state, "max_action_dim": action, "chunk_size": chunk, "training_mode": mode}
    release.edit(release.checkpoint / "config.json", lambda tree: tree.update(fields))
    ranges = {"observation.state": state, "action": action}
    entry = {name: {"min": [-1.0] * size, "max": [1.0] * size} for name, size in ranges.items()}
    tiny_qwen.write_json(release.checkpoint / "norm_stats.json", {"robot": entry})


ROBOTS = {
    "wla0_libero": (8, 7, 8, "image_action"),
    "wla0_robotwin": (16, 16, 32, "image_action"),
    "wla0_robotwin_videos": (14, 14, 32, "image_action"),
    "wla0_rmbench": (14, 14, 32, "image_action_language"),
}


@pytest.mark.parametrize("name", ROBOTS)
def test_a_published_model_is_recognized_by_its_dimensions_and_acts(name, release, tmp_path):
    state, action, chunk, mode = ROBOTS[name]
    for_robot(release, state=state, action=action, chunk=chunk, mode=mode)
    assert import_policy(release.checkpoint, tmp_path / "ours", **release.folders()) == []
    preset = presets()[name]
    config = CheckpointConfig.load(tmp_path / "ours" / "config.json")
    assert config.prompt == preset.prompt.replace(queries=8)
    assert list(config.model.backbone.cameras) == list(preset.model.backbone.cameras)
    policy = wla.load_policy(tmp_path / "ours")
    assert policy.robot_spec == preset.robot
    rng = np.random.default_rng(0)
    images = {
        camera: rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        for camera, size in preset.robot.observation.cameras.items()
    }
    observed = Observation(images=images, state=np.zeros(state, np.float32))
    first, carry = policy.act(observed, policy.reset("open the drawer"))
    for _ in range(config.prompt.history):
        carry = policy.observe(observed, carry)
    second, _ = policy.act(observed, carry)
    assert first.actions.shape == second.actions.shape == (chunk, action)


def test_a_model_for_an_unknown_robot_keeps_its_prompt(release, tmp_path):
    for_robot(release, state=5, action=4, chunk=8, mode="image_action_language")
    (line,) = import_policy(release.checkpoint, tmp_path / "ours", **release.folders())
    assert line.startswith("robot.json: no published model has these dimensions")
    assert CheckpointConfig.load(tmp_path / "ours" / "config.json").prompt.language


@pytest.mark.parametrize("name", BAD)
def test_a_defective_release_is_refused_and_leaves_nothing_behind(name, release, tmp_path):
    change, message = BAD[name]
    change(release)
    with pytest.raises(ValueError, match=message):
        raise ValueError(refused(release, tmp_path / "ours"))


def test_truncated_weights_are_refused(release, tmp_path):
    path = release.checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "damaged safetensors file" in refused(release, tmp_path / "ours")


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no vlm": ({"vlm": None}, "no 'qwen3_vl'; give the folder or hub id with --vlm"),
    "no sana": ({"sana": None}, "no 'sana'; give the folder or hub id with --sana"),
    "unknown preset": ({"preset": "wla1"}, "no preset 'wla1'; there are wla0_libero, "),
    "another preset": ({"preset": "wla0_rmbench"}, "is for 8 state dimensions and preset wla0_rmbench has 14"),
    "no such entry": ({"entry": "robotwin"}, "no entry 'robotwin'; the file has libero"),
    "no such statistics": ({"statistics": Path("nowhere.json")}, "nowhere.json: no statistics file here"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_invalid_options_are_refused(name, release, tmp_path):
    options, message = OPTIONS[name]
    assert message in refused(release, tmp_path / "ours", **options)


def test_an_existing_folder_is_unchanged(release, tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "mine").write_text("keep")
    assert "exists already" in refused(release, tmp_path / "ours")
    assert (tmp_path / "ours" / "mine").read_text() == "keep"


@pytest.mark.parametrize("limit", [0, 20_000, 1_000_000])
def test_a_full_disk_leaves_nothing_behind(limit, release, tmp_path):
    with full_disk(limit):
        line = refused(release, tmp_path / "ours")
    assert "ours: cannot write (" in line
    assert "nothing was left behind" in line
    import_policy(release.checkpoint, tmp_path / "ours", **release.folders())
    wla.load_policy(tmp_path / "ours")


@pytest.mark.parametrize(
    ("section", "change", "line"),
    [
        ("sana", {"qk_norm": "rms_norm_across_heads"}, "sana.qk_norm is 'rms_norm_across_heads', WLA-0 has None"),
        ("sana", {"cross_attention_dim": 48}, "sana has width 32, its cross-attention another"),
        ("wla", {"action_condition_type": "raw_action"}, "wla.action_condition_type is 'raw_action'"),
        ("wla", {"add_pos_embed": False}, "wla.add_pos_embed is False, WLA-0 has True"),
    ],
)
def test_unsupported_computations_are_refused(tmp_path, section, change, line):
    folder = tmp_path / "other"
    shutil.copytree(Path(__file__).parents[1] / "parity" / "official_tiny", folder)
    tree = json.loads((folder / "config.json").read_text())
    tree[section] |= change
    (folder / "config.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=line):
        import_policy(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
