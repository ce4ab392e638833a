"""Features of images, which are computed where the images are new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

KEPT = 128
"""Images of a size whose features are kept: 7 MB at 96 pixels and a width of 192."""


class Function(Protocol):
    """A compiled function, or the module that it was compiled from."""

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]: ...


class ImageFeatures:
    """Reads images of one size, each once while it is among the last `KEPT`: an image that did not change, that is
    shown again as one of an earlier step, or that several prompts have in common."""

    def __init__(self, read: Function) -> None:
        self._read = read
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, images: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B ..."]:
        keys = [image.tobytes() for image in images.numpy()]
        # Of this call: another thread may forget meanwhile what is known.
        found = {key: features for key in keys if (features := self._known.get(key)) is not None}
        rows = {key: row for row, key in enumerate(keys) if key not in found}
        read = None
        if rows:
            (read,) = self._read(images if len(rows) == len(keys) else images[list(rows.values())])
            # Copies of several: a row would keep its whole batch in memory.
            kept = read if len(rows) == 1 else (row.clone() for row in read)
            found.update(zip(rows, kept, strict=True))
        for key in keys:
            self._known.pop(key, None)
            self._known[key] = found[key]
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return read if read is not None and len(read) == len(keys) else torch.stack([found[key] for key in keys])
