"""Defective releases: functions that introduce the defect, and the error message of an import."""

from __future__ import annotations

import json
import shutil
from typing import Any

import tiny_qwen
import torch
from published_release import Release


def set_json(path: str, **fields: Any) -> Any:
    """Changes fields of a JSON file of the release; None removes one."""

    def change(tree: dict[str, Any]) -> None:
        tree.update({name: value for name, value in fields.items() if value is not None})
        for name, value in fields.items():
            if value is None:
                del tree[name]

    return lambda release: release.edit(release.checkpoint.parent / path, change)


def set_vlm(part: str, **fields: Any) -> Any:
    return lambda release: release.edit(release.vlm / "config.json", lambda tree: tree[part].update(fields))


def write(path: str, content: str | bytes) -> Any:
    def change(release: Release) -> None:
        file = release.checkpoint.parent / path
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def remove(path: str) -> Any:
    def change(release: Release) -> None:
        file = release.checkpoint.parent / path
        shutil.rmtree(file) if file.is_dir() else file.unlink()

    return change


def pickled(name: str) -> Any:
    def change(release: Release) -> None:
        torch.save({"x": torch.zeros(1)}, release.checkpoint / name)
        (release.checkpoint / "model.safetensors").unlink()

    return change


def weights(change: Any) -> Any:
    return lambda release: release.edit_weights(change)


def untie_lm_head(tensors: dict[str, torch.Tensor]) -> None:
    embedding = tensors["model.mllm_backbone.model.language_model.embed_tokens.weight"]
    tensors["model.mllm_backbone.lm_head.weight"] = embedding + 1e-3


def statistics(**fields: Any) -> Any:
    state = {"min": [-1.0] * 8, "max": [1.0] * 8}
    action = {"min": [-1.0] * 7, "max": [1.0] * 7}
    tree = {"libero": {"observation.state": state, "action": {**action, **fields}}}
    return write("checkpoint/norm_stats.json", json.dumps(tree))


def set_tokenizer(missing: str = "", *, first: int = 497, swapped: bool = False, more: int = 0) -> Any:
    """Replaces the tokenizer: a token missing, all of them with other ids, images and videos swapped, or more."""
    names = ["<other>" if token == missing else token for token in tiny_qwen.SPECIAL_TOKENS]
    names += [f"<more_{index}>" for index in range(more)]
    if swapped:
        names[3], names[4] = names[4], names[3]
    return lambda release: (release.vlm / "tokenizer.json").write_text(tiny_qwen.qwen_core(names, first=first).to_str())


GATE = "model.connector.0.layers.0.mlp.gate_proj.weight"
HEAD = "model.world_expert.proj_out.weight"
BAD: dict[str, tuple[Any, str]] = {
    "deeper backbone": (set_vlm("text_config", num_hidden_layers=5), r"checkpoint: does not fit .*missing .*layers.4"),
    "narrower backbone": (set_vlm("text_config", intermediate_size=96), r"has shape \(128, 64\) instead of \(96, 64\)"),
    "other Sana": (set_json("sana/transformer/config.json", num_layers=3), r"extra model.world_expert.transformer_blo"),
    "other state": (set_json("checkpoint/config.json", max_state_dim=9), r"state_encoder.layer1.weight has shape"),
    "renamed key": (
        weights(lambda w: w.update({"model.connector.x": w.pop(GATE)})),
        f"missing {GATE}; extra model.connector.x$",
    ),
    "missing, extra and misshapen": (
        weights(lambda w: (w.pop(GATE), w.update({"more": torch.zeros(1), HEAD: w[HEAD][:, :5]}))),
        rf"missing {GATE}; extra more; {HEAD} has shape \(16, 5\) instead of \(16, 32\)$",
    ),
    "no embedding": (
        weights(lambda w: w.pop("model.mllm_backbone.model.language_model.embed_tokens.weight")),
        "has no model.mllm_backbone.model.language_model.embed_tokens.weight; give a WLA-0 checkpoint",
    ),
    "half floats": (
        weights(lambda w: w.update({name: value.half() for name, value in w.items()})),
        "is stored as F16; only F32 and BF16",
    ),
    "untied": (weights(untie_lm_head), r"lm_head.weight differs from .*another model"),
    "pickle": (pickled("model.pt"), r"model.pt: pickled weights .*save_file\(torch.load"),
    "pickle of the hub": (pickled("pytorch_model.bin"), r"pytorch_model.bin: pickled weights .*convert"),
    "no weights": (remove("checkpoint/model.safetensors"), "no model.safetensors here"),
    "no config": (remove("checkpoint/config.json"), r"checkpoint/config.json: file is missing"),
    "Sana without codec": (remove("sana/vae"), r"sana: contains no image codec \(vae/config.json\); give the"),
    "Sana without transformer": (remove("sana/transformer"), r"transformer/config.json: file is missing"),
    "no codec weights": (
        weights(lambda w: [w.pop(name) for name in list(w) if name.startswith("vae.")]),
        r"sana/vae: no model.safetensors here; give the folder",
    ),
    "vlm without config": (remove("vlm/config.json"), r"vlm/config.json: file is missing"),
    "no Qwen tokens": (
        set_tokenizer("<|vision_start|>"),
        r"tokenizer.json: lacks the Qwen tokens <\|vision_start\|>; give",
    ),
    "other token ids": (set_tokenizer(first=490), r"tokenizer.json: <\|image_pad\|> has id 493, the model's is 500"),
    "other id for images": (
        set_tokenizer(swapped=True),
        r"tokenizer.json: <\|image_pad\|> has id 501, the model's is 500",
    ),
    "too many tokens": (
        set_tokenizer(more=9),
        r"tokenizer.json: .*has 513 tokens, the model's begin marker is token 512",
    ),
    "damaged tokenizer": (write("vlm/tokenizer.json", "{"), r"tokenizer.json: damaged or not a tokenizer"),
    "min above max": (statistics(max=[-2.0] * 7), r"norm_stats.json: entry 'libero', 'action': dimension 0: min -1.0"),
    "other dimensions": (statistics(min=[0.0], max=[1.0]), r"'action' has 1 dimensions, the robot has 7"),
    "no actions": (
        write("checkpoint/norm_stats.json", json.dumps({"a": {"observation.state": {"min": [0] * 8, "max": [1] * 8}}})),
        "norm_stats.json: the entry has no actions",
    ),
    "several entries": (
        write("checkpoint/norm_stats.json", json.dumps({"a": {}, "b": {}})),
        r"norm_stats.json: has 2 entries, a, b; name the one",
    ),
    "damaged statistics": (write("checkpoint/norm_stats.json", "{"), "norm_stats.json: damaged JSON"),
    "statistics that are a list": (write("checkpoint/norm_stats.json", "[]"), "norm_stats.json: is a list"),
    "damaged JSON": (write("checkpoint/config.json", '{"a": '), r"checkpoint/config.json: damaged JSON"),
    "JSON that is not text": (write("vlm/config.json", b"\xff\xfe"), r"vlm/config.json: damaged JSON"),
    "config that is a list": (
        write("checkpoint/config.json", "[]"),
        r"checkpoint/config.json: is a list, not a JSON object",
    ),
    "section that is not an object": (
        write("vlm/config.json", '{"text_config": 3, "vision_config": {}}'),
        "has the wrong type",
    ),
    "no queries": (set_json("checkpoint/config.json", num_metaqueries=None), r"'num_metaqueries' is missing"),
    "queries without a number": (
        set_json("checkpoint/config.json", num_metaqueries="x"),
        "configuration: .*has the wrong type",
    ),
    "no layers": (set_json("checkpoint/config.json", diffusion_model_cfg={}), r"'num_layers' is missing"),
    "a number that is text": (set_json("checkpoint/config.json", chunk_size="many"), r"chunk: .*integer"),
    "other norm": (
        set_json("checkpoint/config.json", diffusion_model_cfg={"num_layers": 4, "norm_type": "ada_norm"}),
        "norm_type is 'ada_norm', WLA-0 has 'norm'",
    ),
    "heads that do not divide": (
        set_json("checkpoint/config.json", diffusion_model_cfg={"num_layers": 4, "input_embedding_dim": 32}),
        "32 heads of 32 for a width of 32",
    ),
    "section that is a list": (set_json("checkpoint/config.json", wla=[]), "'wla' of its config.json is not a JSON"),
    "damaged weights": (write("checkpoint/model.safetensors", b"0" * 100), "damaged safetensors file"),
    "no release": (write("checkpoint/config.json", "{}"), r"'diffusion_model_cfg' is missing"),
}
