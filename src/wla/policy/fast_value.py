"""The fast path of value models: as that of policies, with one function for the prompts of a batch of images."""

from __future__ import annotations

from dataclasses import replace

from wla.models.backbones.nano import NanoBackbone
from wla.models.inference.compiled_reading import CompiledBackbone
from wla.models.inference.function_sets import FunctionSet, value_functions
from wla.policy.compiled_functions import cached, usable_precision
from wla.policy.value_checkpoint import ValueCheckpoint
from wla.progress import note
from wla.types import Precision


def fast_value(value: ValueCheckpoint, *, precision: Precision = "float32") -> ValueCheckpoint:
    """A value model with the same scores that runs compiled functions; the value model itself, with a line that says
    why, where there can be none. precision: see `wla.policy.fast.fast_model`."""
    model, instead = value.model, "the reference scores images"
    functions = scoring_functions(value, usable_precision(precision))
    if functions is None or not isinstance(model.backbone, NanoBackbone):
        note(f"fast: {type(model.backbone).__name__} is not compiled; {instead}")
        return value
    found = cached(functions, instead)
    return (
        value if found is None else replace(value, model=model.with_backbone(CompiledBackbone(model.backbone, found)))
    )


def scoring_functions(value: ValueCheckpoint, precision: Precision = "float32") -> FunctionSet | None:
    """The functions that `fast_value` compiles; None for a backbone other than nano's."""
    model = value.model
    return (
        value_functions(model.config, model.backbone, precision) if isinstance(model.backbone, NanoBackbone) else None
    )
