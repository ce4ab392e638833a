"""Images as small JPEG files inside a page, so that the page needs nothing but itself."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

QUALITY = 80


def jpeg(image: UInt8[np.ndarray, "H W 3"], longest: int) -> bytes:
    """A JPEG whose longer side has at most `longest` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def data_url(file: bytes, kind: str = "image/jpeg") -> str:
    """The file as an address that a page can hold."""
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"
