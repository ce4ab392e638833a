"""A wla policy as LeRobot's training, evaluation and rollout ask for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from huggingface_hub import snapshot_download
from jaxtyping import Float32
from lerobot.configs import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from lerobot_policy_wla.batches import BatchReader
from lerobot_policy_wla.configuration_wla import WlaConfig, observation_offsets
from lerobot_policy_wla.folder import read_folder, write_folder
from lerobot_policy_wla.initial import for_dataset, initial_checkpoint, open_dataset
from wla.control import StepwisePolicy
from wla.data import DatasetPrompts
from wla.models import weighted_sum
from wla.policy import Checkpoint, WLAPolicy
from wla.training import to_device


class WlaPolicy(PreTrainedPolicy):
    """Trains and runs the model of a wla checkpoint, whose statistics, prompts and memory it keeps."""

    config_class = WlaConfig
    name = "wla"

    def __init__(
        self,
        config: WlaConfig,
        dataset_stats: Mapping[str, Mapping[str, Any]] | None = None,
        dataset_meta: Any = None,
        checkpoint: Checkpoint | None = None,
        **kwargs: Any,
    ) -> None:
        """dataset_stats, dataset_meta: of the dataset that is trained on; a new policy normalises by these statistics.
        checkpoint: the policy to continue, in its own units. ValueError where these do not fit each other."""
        super().__init__(config)
        config.validate_features()
        dataset = None if dataset_meta is None else open_dataset(Path(dataset_meta.root))
        checkpoint = checkpoint or initial_checkpoint(config, dataset_stats, dataset)
        checkpoint = checkpoint if dataset is None else for_dataset(checkpoint, dataset)
        _require_fit(config, checkpoint)
        self._checkpoint, self._trained_steps = checkpoint, checkpoint.config.trained_steps
        self.model: nn.Module = checkpoint.model
        prompts = None
        if dataset is not None:
            prompts = DatasetPrompts(dataset, checkpoint.prompter, checkpoint.config.model.interface.chunk)
        self._reader = BatchReader(checkpoint, config.observation_delta_indices, prompts)
        self._acting: tuple[torch.device, StepwisePolicy] | None = None

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """The policy in a folder of LeRobot's, or of the hub. All weights have to fit."""
        folder = Path(pretrained_name_or_path)
        if not folder.is_dir():
            folder = Path(snapshot_download(str(pretrained_name_or_path), revision=revision))
        config = config or PreTrainedConfig.from_pretrained(folder)
        policy = cls(config, checkpoint=read_folder(folder), dataset_meta=kwargs.get("dataset_meta"))
        policy.to(config.device)
        return policy.eval()

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        self.config._save_pretrained(save_directory)
        write_folder(self.checkpoint, save_directory, state_dict)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint of wla that this is."""
        config = self._checkpoint.config.replace(trained_steps=self._trained_steps)
        return replace(self._checkpoint, config=config)

    def get_optim_params(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def update(self) -> None:
        """Counts a step of training: LeRobot calls it after each."""
        self._trained_steps += 1

    def forward(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """The loss of the model in wla's own training, and its terms."""
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        inputs = self._reader.training_batch(batch, rng)
        model = self._checkpoint.model
        losses = model.compute_loss(to_device(inputs, self._device))
        total = weighted_sum(losses, model.config.loss_weights)
        if self.training and not total.requires_grad:
            # No frame of the batch teaches anything, and LeRobot's loop takes a gradient of every loss.
            total = total + 0 * self.get_optim_params()[0].sum()
        return total, {f"{name}_loss": loss.item() for name, loss in losses.items()}

    def reset(self) -> None:
        """Forgets the episodes of all environments."""
        if self._acting is not None:
            self._acting[1].reset()

    def drop_queued_actions(self) -> None:
        """Forgets the actions to come; memory stays."""
        self._stepwise.drop_actions()

    @torch.no_grad()
    def select_action(self, batch: Mapping[str, Any], **kwargs: Any) -> Tensor:
        """The actions (B, A) of this control step, in the robot's units."""
        _require_none(kwargs)
        observations, instructions = self._observed(batch)
        return torch.from_numpy(self._stepwise.select_actions(observations, instructions)).to(self._device)

    @torch.no_grad()
    def predict_action_chunk(
        self,
        batch: Mapping[str, Any],
        inference_delay: int | None = None,
        prev_chunk_left_over: Tensor | None = None,
        execution_horizon: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Chunks (B, n, A) in the robot's units.

        inference_delay, prev_chunk_left_over: control steps until the chunk is there, and what remains of the chunk in
        execution, as this method returned it, (p, A) or (B, p, A). execution_horizon: rows of it that count.
        """
        _require_none(kwargs)
        observations, instructions = self._observed(batch)
        options: dict[str, Any] = {}
        if prev_chunk_left_over is not None and self._realtime:
            prefix = _remaining(prev_chunk_left_over, execution_horizon)
            options = {"prefix": prefix, "delay": min(inference_delay or 0, prefix.shape[1])} if prefix.size else {}
        chunks = self._stepwise.predict_chunks(observations, instructions, **options)
        return torch.from_numpy(chunks).to(self._device)

    def supports_rtc(self) -> bool:
        """Every chunk can continue the one before: learned or guided (`wla.models.realtime_chunking`)."""
        return True

    def supports_text_generation(self) -> bool:
        """Whether it predicts subtasks."""
        return self._checkpoint.prompter.predicts_subtasks

    @torch.no_grad()
    def generate_text(self, batch: Mapping[str, Any]) -> str:
        """The next subtask in the first environment, '' where none is predicted. Nothing is executed or remembered."""
        subtasks = self._stepwise.subtasks(*self._observed(batch))[0]
        return subtasks[0] if subtasks else ""

    def _observed(self, batch: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
        self.eval()
        observations = self._reader.observations(batch)
        return observations, self._reader.instructions(batch, len(observations))

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def _realtime(self) -> bool:
        return self.config.rtc_config is None or self.config.rtc_config.enabled

    @property
    def _stepwise(self) -> StepwisePolicy:
        """The policy that acts, on the device where the model is now."""
        device = self._device
        if self._acting is None or self._acting[0] != device:
            config = self.config
            policy = WLAPolicy(self._checkpoint, name=self.name, checkpoint_sha256="", device=str(device))
            options = {"replan_steps": config.n_action_steps, "flow_steps": config.flow_steps}
            self._acting = device, StepwisePolicy(policy, **options, new_seed=_new_seed)
        return self._acting[1]


def _new_seed() -> int:
    """The seed of an episode's sampling noise, from LeRobot's own (`--seed`)."""
    return int(torch.randint(2**31, ()))


def _require_fit(config: WlaConfig, checkpoint: Checkpoint) -> None:
    """ValueError where the configuration is of another policy, or the environment or dataset of another robot."""
    interface, action = checkpoint.config.model.interface, config.action_feature
    robot = checkpoint.robot.spec
    for name, ours, stated in (
        ("chunk_size", interface.chunk, config.chunk_size),
        ("observation_offsets", observation_offsets(checkpoint.config), config.observation_offsets),
        ("the action's shape", (robot.action.dim,), None if action is None else tuple(action.shape)),
    ):
        if ours != stated:
            raise ValueError(f"{name} is {stated}; this policy, of {robot.embodiment}, has {ours}")


def _require_none(options: Mapping[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{given[0]}: a wla policy does not read it; its noise follows from --seed")


def _remaining(left_over: Tensor, horizon: int | None) -> Float32[np.ndarray, "B p A"]:
    """What remains of the chunk in execution, without the rows of zeros with which LeRobot fills it up: they are not
    actions, and as a target they would pull the robot to its zero position."""
    rows = left_over.detach().float().cpu().numpy()
    rows = (rows if rows.ndim == 3 else rows[None])[:, :horizon]
    used = np.flatnonzero(rows.any(axis=(0, 2)))
    return rows[:, : used[-1] + 1 if len(used) else 0]
