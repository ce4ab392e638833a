"""HTML pages: Jinja templates of the package, images and videos beside a page or embedded in it, packed curves.

Pages load nothing from elsewhere. What datasets and runs contain is foreign: Jinja escapes it in markup, `tojson` in
data, and links are percent-encoded.
"""

from __future__ import annotations

import base64
import io
import mimetypes
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from wla.files import atomic_write_text, disk_errors

QUALITY = 80

Link = Callable[[Path], str]
"""URL of a file, for an `src` or `href` attribute."""


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


def embedded(path: Path) -> str:
    """A `Link` for a page that is a single file: the file as a data URL."""
    return data_url(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")


def beside(page: Path) -> Link:
    """A `Link` for files that lie beside a page: relative, so that the folder can be moved."""
    folder = page.resolve().parent
    return lambda path: quote(Path(os.path.relpath(path.resolve(), folder)).as_posix())


def template(name: str) -> Template:
    """A Jinja template in a folder of the package, such as ``evaluation/report.html``. Undefined variables raise."""
    environment = Environment(
        loader=PackageLoader("wla", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A script is no markup, so JSON in it is escaped for "</script>" by `tojson` and compact.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":"), "allow_nan": False}
    return environment.get_template(name)


def write_page(path: Path, html: str, hint: str = "give another file or free disk space") -> None:
    """Writes a page in one go, with its folder. ValueError with `hint` when the disk refuses."""
    with disk_errors(path, hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Foreign texts may hold half of a surrogate pair, which no file can.
        atomic_write_text(path, html.encode("utf-8", "replace").decode())
