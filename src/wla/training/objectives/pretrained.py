"""Initial weights of a full-size policy: the published library models that WLA-0 is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from wla.data.prompts.chat import add_queries
from wla.data.prompts.tokenizer import load_tokenizer
from wla.models.configs import WLAConfig
from wla.models.model_config import PolicyModelConfig, require_config
from wla.models.wla import WLA
from wla.policy.hub import resolve
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromPretrained
from wla.weights import WeightFiles, find_weights, mismatch, shapes


def initialize(init: FromPretrained, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
    """Connector and Action Expert are random; the embeddings of new tokens are drawn around the mean of the others.

    ValueError when a folder, a weight or a token of the tokenizer is missing or does not fit.
    """
    own = require_config(config, WLAConfig, "init.vlm")
    library_module = own.backbone.library_module
    if library_module is None:
        raise ValueError("init.vlm: the recipe's backbone is not a Qwen3-VL; start from init.backbone")
    vlm, sana = resolve(init.vlm, "vision-language model"), resolve(init.sana, "Sana model")
    tokenizer = load_tokenizer(vlm / "tokenizer.json")
    try:
        add_queries(tokenizer, first=own.queries.begin, queries=own.queries.count)
    except ValueError as error:
        raise ValueError(f"{vlm}: {error}") from error
    model = WLA(own)
    assert model.world_expert is not None
    assert model.codec is not None
    backbone = model.backbone.get_submodule(library_module)
    load_pretrained(backbone, vlm, prefix="model.", ignored=("lm_head.weight",))
    load_pretrained(model.world_expert.sana, sana / "transformer")
    load_pretrained(model.codec.vae, sana / "vae")
    return Initialization(model, init.prompt, tokenizer)


@torch.no_grad()
def load_pretrained(module: nn.Module, folder: Path, *, prefix: str = "", ignored: tuple[str, ...] = ()) -> None:
    """Copy the weights of a folder into a module, converted to its precision.

    An embedding may have fewer rows than the module's: the new ones are drawn around the mean of the others, as far
    from it as these are. ignored: prefixes of keys. ValueError lists keys that are missing, too many or misshapen.
    """
    own = module.state_dict()
    with WeightFiles(find_weights(folder)) as files:
        names = {key.removeprefix(prefix): key for key in files.shapes if not key.startswith(ignored)}
        grown = [name for name in names if name in own and _adds_rows(files.shapes[names[name]], own[name])]
        stored = {name: tuple(own[name].shape) if name in grown else files.shapes[key] for name, key in names.items()}
        wrong = mismatch(stored, shapes(own))
        if wrong:
            raise ValueError(
                f"{folder}: these weights are of another model: {wrong}; give the folder of the correct one"
            )
        for name, key in names.items():
            value = files[key]
            own[name][: len(value)].copy_(value) if name in grown else own[name].copy_(value)
            if name in grown:
                new, rows = own[name][len(value) :], value.float()
                new.copy_(rows.mean(0) + rows.std(0) * torch.randn(new.shape))


def _adds_rows(stored: tuple[int, ...], wanted: Tensor) -> bool:
    return len(stored) == wanted.ndim == 2 and stored[1] == wanted.shape[1] and stored[0] < wanted.shape[0]
