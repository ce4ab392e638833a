from __future__ import annotations

import sys

import pytest
import tiny
import torch

from wla.training.configs import LoraConfig
from wla.training.freeze import freeze
from wla.training.lora import add_lora, merged

CONFIG = LoraConfig(rank=2, alpha=6, target_modules=(r"self_attn\.[qv]_proj", r"down_proj"))


def images(batch: int = 2) -> dict[str, torch.Tensor]:
    return {
        name: torch.randint(256, (batch, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        for name, side in tiny.CAMERAS.items()
    }


def hidden_states(model) -> torch.Tensor:
    """The backbone's last hidden states."""
    count = sum(model.backbone.image_tokens.values())
    tokens = torch.tensor([[model.config.backbone.image_token] * count + [5, 6, 7]] * 2)
    return model.backbone.encode(tokens, torch.ones_like(tokens, dtype=torch.bool), images()).last


def add_random_adapters(model) -> None:
    add_lora(model.backbone, CONFIG)
    generator = torch.Generator().manual_seed(3)
    for name, value in model.backbone.named_parameters():
        if "lora_B" in name:
            value.data.normal_(generator=generator, std=0.1)


def test_merged_weights_compute_the_same_and_the_adapters_are_unchanged():
    adapted, plain = tiny.checkpoint().model, tiny.checkpoint().model
    base = hidden_states(plain)
    add_random_adapters(adapted)
    before = {name: value.clone() for name, value in adapted.state_dict().items()}
    plain.load_state_dict(merged(adapted.state_dict(), CONFIG))
    assert (hidden_states(adapted) - base).abs().max() > 1e-2
    torch.testing.assert_close(hidden_states(plain), hidden_states(adapted), atol=1e-5, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in adapted.state_dict().items())


def test_new_adapters_change_nothing():
    model = tiny.checkpoint().model
    base = hidden_states(model)
    add_lora(model.backbone, CONFIG)
    torch.testing.assert_close(hidden_states(model), base, atol=0, rtol=0)


def test_only_adapters_and_token_embeddings_of_the_backbone_are_trained():
    model = tiny.checkpoint().model.train()
    add_random_adapters(model)
    hidden_states(model).square().mean().backward()
    trained = {name for name, value in model.named_parameters() if value.grad is not None}
    adapters = {name for name, _ in model.named_parameters() if "lora_" in name}
    assert trained == {*adapters, "backbone.text.embed_tokens.weight"}
    assert len(adapters) == 2 * 3 * tiny.model_config().backbone.layers
    assert all(value.requires_grad for value in model.action_expert.parameters())


def test_a_target_that_matches_nothing_is_refused_with_a_list_of_layers():
    model = tiny.checkpoint().model
    config = CONFIG.replace(target_modules=("qkv",))
    with pytest.raises(
        ValueError,
        match=r"lora.target_modules: 'qkv' matches no linear layer; there are text.layers.0.self_attn.q_proj, .* more",
    ):
        add_lora(model.backbone, config)
    assert all(value.requires_grad for value in model.backbone.parameters())


def test_without_peft_the_error_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError, match=r"adapters need peft: pip install peft"):
        add_lora(tiny.checkpoint().model.backbone, CONFIG)


def test_adapters_stay_trainable_when_their_layers_are_frozen():
    model = tiny.checkpoint().model
    add_lora(model.backbone, CONFIG)
    freeze(model, (r"backbone\.", r"q_proj\.weight"))
    trained = {name for name, value in model.backbone.named_parameters() if value.requires_grad}
    assert trained == {name for name, _ in model.backbone.named_parameters() if "lora_" in name}


def test_modules_to_save_have_to_exist():
    with pytest.raises(ValueError, match=r"lora.modules_to_save: \['missing'\] match no parameter"):
        add_lora(tiny.checkpoint().model.backbone, CONFIG.replace(modules_to_save=("missing",)))
