"""The kinds of initial weights of a policy; `kind` identifies one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wla.training.objectives.from_backbone import FromBackbone
from wla.training.objectives.from_checkpoint import FromCheckpoint
from wla.training.objectives.from_scratch import FromScratch
from wla.training.objectives.from_smolvlm import FromSmolVLM
from wla.training.objectives.pretrained import FromPretrained

AnyInitialization = Annotated[
    FromBackbone | FromPretrained | FromSmolVLM | FromCheckpoint | FromScratch, Field(discriminator="kind")
]
