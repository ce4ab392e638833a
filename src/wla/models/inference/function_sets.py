"""The functions of a model that are compiled together: those of acting, of predicting images, and of scoring them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from wla.config import Config
from wla.models.backbones.nano import NanoBackbone
from wla.models.configs import ValueConfig
from wla.models.inference.examples import Example, image_examples, reading_examples, sampling_examples
from wla.models.inference.imagining import DecodeImage, EncodeImage, ImageVelocity, StartImages
from wla.models.inference.layout import by_onednn, halve, laid_out, onednn_computes, written_out
from wla.models.inference.reading import ReadImage, ReadPrompt, ReadText, TextLayers, read_image
from wla.models.inference.sampling import ActionVelocity, StartSampling
from wla.models.wla import WLA
from wla.types import Precision

FEW_ROWS = frozenset({"read_text", "start_sampling", "action_velocity"})
"""Functions whose products have about ten rows: a call of oneDNN takes as long as they do."""


Kind = Literal["acting", "images", "value"]


@dataclass(frozen=True)
class FunctionSet:
    """Functions with weights of their own layout, and an example of what each is called with.

    kind, config, dtype: what the functions are of, with which sizes (JSON) and weights. precision: of products; float32
    stands for that of the model.
    """

    modules: Mapping[str, nn.Module]
    examples: Mapping[str, Example]
    kind: Kind
    config: str
    dtype: torch.dtype
    precision: Precision

    @property
    def fingerprint(self) -> str:
        """Of everything that the functions are traced for."""
        traced = f"{self.kind} {sorted(self.modules)} {self.config} {self.dtype}"
        return hashlib.sha256(traced.encode()).hexdigest()


def acting_functions(model: WLA, precision: Precision = "float32") -> FunctionSet:
    """The functions that acting consists of; of the backbone only nano's."""
    functions: dict[str, nn.Module] = {}
    backbone, expert = model.backbone, model.action_expert
    examples = sampling_examples(model)
    if isinstance(backbone, NanoBackbone):
        functions |= _reading(backbone)
        examples |= reading_examples(backbone)
        if model.drafter is not None:
            functions["read_masks"] = ReadText(TextLayers(model.drafter.adapted_copy(backbone)))
            examples["read_masks"] = examples["read_text"]
    functions |= {"start_sampling": StartSampling(expert), "action_velocity": ActionVelocity(expert)}
    return _function_set("acting", functions, examples, model.config, expert.positions.dtype, precision)


def image_functions(model: WLA, precision: Precision = "float32") -> FunctionSet | None:
    """The functions that predicting images consists of; None without imagination, and for a backbone other than
    nano's."""
    if model.world_expert is None or model.codec is None or not isinstance(model.backbone, NanoBackbone):
        return None
    functions: dict[str, nn.Module] = {
        "start_images": StartImages(model.world_expert),
        "image_velocity": ImageVelocity(model.world_expert),
        "decode_image": DecodeImage(model.codec),
    }
    if model.config.world_expert.condition_on_current_frame:
        functions["encode_image"] = EncodeImage(model.codec)
    dtype = model.world_expert.sana.dtype
    return _function_set("images", functions, image_examples(model), model.config, dtype, precision)


def value_functions(config: ValueConfig, backbone: NanoBackbone, precision: Precision = "float32") -> FunctionSet:
    """The functions that scoring an image consists of, of a value model with this backbone."""
    functions = {name: module for name, module in _reading(backbone).items() if name != "read_text"}
    examples, dtype = reading_examples(backbone), backbone.text.embed_tokens.weight.dtype
    return _function_set("value", functions, examples, config, dtype, precision)


def _reading(backbone: NanoBackbone) -> dict[str, nn.Module]:
    """The functions that a backbone consists of."""
    image = ReadImage(backbone.stem)
    functions: dict[str, nn.Module] = {read_image(side): image for side in backbone.config.cameras.values()}
    return functions | {
        "read_prompt": ReadPrompt(TextLayers(backbone), backbone.image_token),
        "read_text": ReadText(TextLayers(backbone)),
    }


def _function_set(
    kind: Kind,
    functions: dict[str, nn.Module],
    examples: Mapping[str, Example],
    config: Config,
    dtype: torch.dtype,
    precision: Precision,
) -> FunctionSet:
    modules = laid_out(nn.ModuleDict(functions))
    for name, module in modules.items():
        if name in FEW_ROWS and not written_out(precision):
            continue
        if precision == "bfloat16":
            halve(module)
        if onednn_computes():
            by_onednn(module)
    return FunctionSet(dict(modules.items()), examples, kind, config.model_dump_json(), dtype, precision)
