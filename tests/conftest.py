"""What every test runs under: shapes and types are checked, and the renderer is chosen before mujoco is imported."""

from __future__ import annotations

import os

from jaxtyping import install_import_hook

# Before the first import of wla: from here on each call is checked against its annotations, shapes included.
install_import_hook("wla", "shape_check.check")

import torch  # noqa: E402

from wla.runtime import prepare_gl  # noqa: E402

prepare_gl()
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores; more threads than cores make all of them slow.
    torch.set_num_threads(1)
