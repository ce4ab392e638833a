"""Bounds of the sizes in models' configurations: what is larger is a damaged file, not a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Width = Annotated[int, Field(ge=1, le=2**17)]
"""Channels, heads or numbers of a vector."""
StateWidth = Annotated[int, Field(ge=0, le=2**17)]
"""Numbers of a robot's state, which a robot may not measure."""
Depth = Annotated[int, Field(ge=1, le=1024)]
"""Layers."""
Layers = Annotated[int, Field(ge=0, le=1024)]
"""Layers of a block, which may have none."""
Side = Annotated[int, Field(ge=1, le=2**14)]
"""Pixels along each side of a square image."""
Token = Annotated[int, Field(ge=0, lt=2**21)]
"""Index of a token."""
Vocabulary = Annotated[int, Field(ge=1, le=2**21)]
"""Rows of an embedding."""
FlowSteps = Annotated[int, Field(ge=1, le=1000)]
"""Integration steps of a sampler."""
