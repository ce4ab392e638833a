"""A policy before its first step of training; the modules `from_scratch`, `from_backbone` (a pretrained nano backbone),
`from_checkpoint` (a finished policy), `from_smolvlm` and `pretrained` (published library models) make one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerFast

from wla.data import ActionRepresentationConfig, NormalizationConfig, VectorStatistics
from wla.data.prompts.kinds import AnyPromptConfig
from wla.models.model import PolicyModel
from wla.policy.robots import PolicyRobot
from wla.policy.training_data import TrainingData
from wla.specs import RobotSpec
from wla.training.objectives.auxiliary_grounding import AuxiliaryGrounding


@dataclass(frozen=True)
class Initialization:
    """A policy before its first step.

    prompt, tokenizer: None for a model without text. state, action: ranges that it was made with (None: those of the
    datasets), robots: those of a finished policy, each with its ranges, normalization the modes and
    action_representation the actions that they are for. generates_text: whether its weights have learned to generate
    subtasks. training_data: the episodes that it has learned from already, where that is known.
    """

    model: PolicyModel[Any]
    prompt: AnyPromptConfig | None = None
    tokenizer: PreTrainedTokenizerFast | None = None
    state: VectorStatistics | None = None
    action: VectorStatistics | None = None
    grounding: AuxiliaryGrounding | None = None
    generates_text: bool = False
    normalization: NormalizationConfig = field(default_factory=NormalizationConfig)
    action_representation: ActionRepresentationConfig = field(default_factory=ActionRepresentationConfig)
    training_data: TrainingData | None = None
    robots: tuple[PolicyRobot, ...] = ()

    @property
    def several(self) -> tuple[PolicyRobot, ...]:
        """The robots of a finished policy for several: training continues it, so that it stays for them."""
        return self.robots if len(self.robots) > 1 else ()

    def ranges(
        self, modes: NormalizationConfig, representation: ActionRepresentationConfig, robot: RobotSpec | None
    ) -> tuple[VectorStatistics | None, VectorStatistics | None]:
        """Returns ranges of state and action, each None where it is used in another mode or for another representation:
        what was learned in its units is then given up. robot: one of several, whose own ranges are known by its name
        only; None for a single robot, which takes over whatever there is."""
        state, action = self.state, self.action
        if robot is not None:
            own = [each.statistics for each in self.robots if each.spec.embodiment == robot.embodiment]
            state, action = (own[0].state, own[0].action) if own else (None, None)
        same = modes.action == self.normalization.action and representation == self.action_representation
        return state if modes.state == self.normalization.state else None, action if same else None

    def learned_prompt(self, *, labelled: bool) -> AnyPromptConfig | None:
        """Returns the prompt of the trained policy: without language where no text was or will be learned.

        An untrained head would generate one word until its limit, into report and memory. labelled: whether a dataset
        has subtasks.
        """
        weights = dict(self.model.config.loss_weights)
        trained = labelled and any(weights[term] for term, kind in self.model.loss_targets.items() if kind == "text")
        if self.prompt is None or trained or self.generates_text:
            return self.prompt
        return self.prompt.replace(language=False)
