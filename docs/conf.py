"""Settings of the documentation's site: `make docs` builds it into outputs/site without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from generate import write_reference  # noqa: E402

import wla  # noqa: E402

write_reference(HERE / "reference")

project = "wla"
version = release = wla.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["results/runs"]
html_theme = "furo"
html_title = f"wla {release}"
html_static_path = ["images"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Documents link to source files, which are not pages: their links lead to copies.
suppress_warnings = ["myst.xref_missing"]

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "show-inheritance": True,
    "exclude-members": "model_config",
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
