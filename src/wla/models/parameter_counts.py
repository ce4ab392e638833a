"""Numbers of parameters by what they are for, so that models of different kinds can be compared."""

from __future__ import annotations

from typing import Any, NamedTuple

from wla.models.model import PolicyModel


class ParameterCounts(NamedTuple):
    """acting: those that acting computes with and training changes. dropped: those that only training or the prediction
    of images needs. frozen: those of the image codec."""

    acting: int
    dropped: int
    frozen: int


def parameter_counts(model: PolicyModel[Any]) -> ParameterCounts:
    """Counts the parameters of a model that was built with imagination."""
    frozen = set() if model.image_codec is None else {id(each) for each in model.image_codec.parameters()}
    dropped = (*model.imagination_parts, *model.training_parts)
    counts = {"acting": 0, "dropped": 0, "frozen": 0}
    for name, parameter in model.named_parameters():
        part = "frozen" if id(parameter) in frozen else "dropped" if name.startswith(dropped) else "acting"
        counts[part] += parameter.numel()
    return ParameterCounts(**counts)
