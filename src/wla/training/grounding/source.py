"""The grounding objective as a recipe describes it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from wla.config import Config
from wla.data.normalize import VectorStatistics
from wla.data.prompts.nano import Prompter
from wla.models.backbones.nano import NanoBackbone
from wla.training.grounding.objective import Grounding
from wla.training.grounding.questions import question_texts
from wla.training.grounding.scenes import SceneConfig, Scenes, render_scenes


class GroundingSource(Config):
    """Scenes, and the folder that they are rendered into once."""

    scenes: SceneConfig
    scenes_folder: str
    workers: int = Field(default=2, ge=1)
    """Processes that render."""

    def render(self) -> Scenes:
        """The scenes, rendered now if the folder does not hold them yet."""
        return render_scenes(self.scenes, Path(self.scenes_folder), workers=self.workers)

    def texts(self, scenes: Scenes) -> list[str]:
        """Every text of the questions about the scenes, for a tokenizer."""
        return question_texts(scenes.names, scenes.labels)

    def objective(
        self, scenes: Scenes, prompter: Prompter, state: VectorStatistics, backbone: NanoBackbone
    ) -> Grounding:
        """The objective on these scenes, with new heads."""
        return Grounding(scenes, prompter, state, backbone)
