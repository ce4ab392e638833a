"""HTML reports in single files: Jinja templates of the package, and embedded images."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

QUALITY = 80


def jpeg(image: UInt8[np.ndarray, "H W 3"], longest: int) -> bytes:
    """The image as JPEG, scaled down so that its longer side has at most `longest` pixels."""
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((longest, longest))
    buffer = io.BytesIO()
    thumbnail.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def data_url(file: bytes, kind: str = "image/jpeg") -> str:
    """The file as a data URL, for an `src` attribute."""
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"


def template(name: str) -> Template:
    """A Jinja template in a folder of the package, such as ``evaluation/report.html``. Undefined variables raise."""
    environment = Environment(
        loader=PackageLoader("wla", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(name)
