"""WorldVLA at the published sizes and layout: Chameleon's text layers, read from a folder of the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import tiny_qwen
import torch
from test_policy_statistics import recipe_of
from transformers import ChameleonConfig, ChameleonForConditionalGeneration

from wla.data.prompts.special_tokens import special_tokens
from wla.models import ImageCodec, WorldVLA, WorldVLAConfig
from wla.models.configs import residual_codec
from wla.models.world_vla_config import TokenRows
from wla.policy.wla_policy import WLAPolicy
from wla.presets import PROMPT, chameleon_world_vla
from wla.training import FromChameleon
from wla.training.objectives.from_chameleon import load_text_layers
from wla.training.trainer import train

CODEC = residual_codec(latent_channels=4, channels=(8, 8, 8), layers=(0, 1, 1), levels=(3, 3, 3, 3))
TEXT = 520
"""Tokens of the published vocabulary, those of images among them."""
PROMPT_TOKENS = tiny.PROMPT.replace(language=False)
SPECIAL = special_tokens(tiny.PROMPT.queries, tiny.PROMPT.locations)


def config(**changes: object) -> WorldVLAConfig:
    given: dict[str, object] = {
        "images": tiny.CAMERAS,
        "vocabulary": TEXT + len(SPECIAL),
        "image_token": TEXT + 3,
        "token_rows": TokenRows(codes=400, actions=481, markers=497),
        "layout": "chameleon",
        "state_dim": tiny.STATE,
        "action_dim": tiny.ACTION,
        "chunk": tiny.CHUNK,
        "codec": CODEC,
        "action_bins": 16,
        "width": 32,
        "layers": 2,
        "heads": 2,
        "mlp": 48,
    }
    return WorldVLAConfig(**{**given, **changes})


def write_chameleon(folder: Path) -> ChameleonForConditionalGeneration:
    """Writes a random Chameleon with its image tokenizer, whose norms are not the identity, and returns it."""
    torch.manual_seed(0)
    images = {"embed_dim": 4, "num_embeddings": 81, "latent_channels": 32, "base_channels": 32, "resolution": 16}
    published = ChameleonForConditionalGeneration(
        ChameleonConfig(
            vocab_size=TEXT,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            vocabulary_map={"<image>": 3},
            vq_config={**images, "channel_multiplier": [1], "num_res_blocks": 1},
        )
    ).eval()
    with torch.no_grad():
        for parameter in published.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    published.save_pretrained(folder)
    core = tiny_qwen.qwen_core(["</s>"], first=TEXT - 1)
    (folder / "tokenizer.json").write_text(core.to_str(), encoding="utf-8")
    return published


def test_logits_are_those_of_the_library(tmp_path: Path) -> None:
    published = write_chameleon(tmp_path)
    model = config(vocabulary=TEXT, image_token=490).build().eval()
    load_text_layers(model, tmp_path)
    tokens = torch.randint(0, TEXT, (2, 24), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[0, :7] = False
    with torch.no_grad():
        expected = published(
            input_ids=tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        ).logits
        found = model._logits(model._read(tokens, mask))
    assert expected.std() > 0.1
    assert (found - expected)[mask].abs().max() < 1e-4


def test_a_published_chameleon_becomes_a_policy_that_trains_and_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wla.training.objectives.pretrained_codec.load_codec", lambda name: ImageCodec(CODEC))
    published = write_chameleon(tmp_path / "chameleon")
    tiny.write_dataset(tmp_path / "robot")
    init = FromChameleon(chameleon=str(tmp_path / "chameleon"), codec="codec", prompt=PROMPT_TOKENS)
    recipe = recipe_of(tmp_path / "robot", monkeypatch, init=init, model=config())
    objective = recipe.build()
    assert torch.equal(objective.model.lm_head.weight[:TEXT], published.lm_head.weight)
    new = objective.model.lm_head.weight[TEXT:].detach()
    assert new.std() == pytest.approx(float(published.lm_head.weight.std()), rel=0.3)
    policy = WLAPolicy.from_pretrained(train(objective, recipe.loop, tmp_path / "run"), imagination=True)
    assert isinstance(policy.model, WorldVLA)
    chunk, _ = policy.act(tiny.observation(), policy.reset(tiny.INSTRUCTIONS[0]), imagine=True)
    assert chunk.actions.shape == (tiny.CHUNK, tiny.ACTION)
    assert chunk.subgoal is not None

    for change, message in (({"model_type": "llama"}, "model_type is 'llama'"), ({"swin_norm": True}, "swin_norm is")):
        path = tmp_path / "chameleon" / "config.json"
        before = path.read_text("utf-8")
        path.write_text(json.dumps(json.loads(before) | change), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            recipe.build()
        path.write_text(before, encoding="utf-8")
    with pytest.raises(ValueError, match="are of another model"):
        recipe.replace(model=config(layers=3)).build()
    with pytest.raises(ValueError, match=r"set model\.layout=chameleon"):
        recipe.replace(model=config(layout="qwen3")).build()


@pytest.mark.parametrize("rows", [{"codes": 450}, {"markers": 534}, {"actions": 470}])
def test_rows_that_overlap_or_do_not_exist_are_refused(rows: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="overlap or reach beyond"):
        config(token_rows={"codes": 400, "actions": 481, "markers": 497, **rows})


def test_the_published_sizes_are_those_of_chameleon_7b() -> None:
    sizes = chameleon_world_vla(state_dim=8, action_dim=7, chunk=5, cameras={"image": 256})
    assert sizes.codec.num_codes == 8192
    assert sizes.interface.image_tokens == {"image": 256}
    with torch.device("meta"):
        model = sizes.build()
        library = ChameleonForConditionalGeneration(ChameleonConfig(vocabulary_map={}))
    own = {name: value.shape for name, value in model.state_dict().items() if not name.startswith("codec.")}
    theirs = {
        name.replace("model.", "decoder."): value.shape
        for name, value in library.state_dict().items()
        if not name.startswith("model.vqmodel.")
    }
    assert own.keys() == theirs.keys()
    grown = {name for name, shape in own.items() if shape != theirs[name]}
    assert grown == {"decoder.embed_tokens.weight", "lm_head.weight"}
    added = len(special_tokens(PROMPT.queries, PROMPT.locations))
    assert sum(map(torch.Size.numel, theirs.values())) == 7_013_666_816
    assert sum(map(torch.Size.numel, own.values())) == 7_013_666_816 + 2 * 4096 * added
