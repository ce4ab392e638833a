"""The fast path: a policy's model whose functions are compiled, from a package, a cache or anew; else the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wla.models.inference.compiled_images import with_image_functions
from wla.models.inference.compiled_parts import with_functions
from wla.models.inference.function_sets import acting_functions, image_functions
from wla.models.model import PolicyModel
from wla.models.wla import WLA
from wla.policy.checkpoint_files import COMPILED
from wla.policy.compiled_functions import cached, packaged, usable_precision
from wla.progress import note
from wla.types import Precision

REFERENCE = "the reference path acts"


def fast_model(
    model: PolicyModel[Any], checkpoint: Path, *, trusted: bool, precision: Precision = "float32"
) -> PolicyModel[Any]:
    """A model with the same answers that runs compiled functions; the model itself, with a line that says why, where
    there can be none.

    checkpoint: folder that may hold a package. trusted: whether its code may run here. precision: of products; where a
    processor has none in bfloat16, a line says so and they are computed in float32.
    """
    if not isinstance(model, WLA):
        note(f"fast: nothing is compiled for models of kind {model.config.kind!r}; {REFERENCE}")
        return model
    device = model.action_expert.positions.device
    if device.type != "cpu":
        note(f"fast: nothing is compiled for {device.type} yet; {REFERENCE}")
        return model
    precision = usable_precision(precision)
    acting = acting_functions(model, precision)
    if "read_prompt" not in acting.modules:
        note(f"fast: {type(model.backbone).__name__} is not compiled, only the sampling of actions is")
    functions = packaged(checkpoint / COMPILED, acting, trusted=trusted) or cached(acting, REFERENCE)
    if functions is None:
        return model
    fast, images = with_functions(model, functions), image_functions(model, precision)
    if images is not None and (functions := cached(images, "the reference predicts images")):
        fast = with_image_functions(fast, functions)
    return fast
