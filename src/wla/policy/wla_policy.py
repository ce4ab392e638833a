"""The policy around any trained model: observation -> inputs -> encoding -> action chunk (-> predicted image)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from wla import runtime
from wla.models.model import Imagination, ModelEncoding
from wla.policy.checkpoint import Checkpoint, RobotChoice, load_checkpoint, save_pretrained
from wla.policy.checkpoint_files import sha256
from wla.policy.hub import find, load_from
from wla.policy.model_inputs import InputBuilder
from wla.policy.observation_history import append_frame, frames_kept
from wla.policy.subtask_memory import SubtaskMemory
from wla.run_folder import checkpoint_folder
from wla.types import ActionChunk, ImageKey, MemoryItem, Observation, PolicyState, Precision

MAX_CPU_PARAMETERS = 10**8
"""Parameters below which a policy acts on the CPU unless a device is named: there a GPU gains nothing."""


class Encoding(NamedTuple):
    """Observations as the model encoded them, once for any number of chunks and images; a row per episode.

    robot_state: in the robot's units.
    """

    states: Sequence[PolicyState]
    model: ModelEncoding
    robot_state: Float32[np.ndarray, "B S"]


class WLAPolicy:
    """A `wla.types.Policy` for one robot. It holds no state of an episode: one object serves any number of them.

    action_transform: from the robot's actions to the model's, and back.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str,
        checkpoint_sha256: str,
        device: str | None = None,
        robot: RobotChoice = None,
        flow_steps: int | None = None,
        action_noise: float | None = None,
    ) -> None:
        """robot, flow_steps, action_noise: see `from_pretrained`. ValueError as there."""
        chosen = checkpoint.choose_robot(robot, name)
        self.name = name
        self.checkpoint_sha256 = checkpoint_sha256
        self._checkpoint = checkpoint
        self.robot_spec = chosen.spec
        self.training_data = checkpoint.training_data
        small = sum(parameter.numel() for parameter in checkpoint.model.parameters()) < MAX_CPU_PARAMETERS
        self.device = runtime.device("cpu" if device is None and small else device)
        self.model = checkpoint.model.to(self.device)
        self.flow_steps = flow_steps
        self.replan_steps = checkpoint.config.replan_steps
        self.action_noise = checkpoint.config.action_noise if action_noise is None else action_noise
        self._interface = checkpoint.config.model.interface
        self._inputs = InputBuilder(checkpoint, chosen, self.device)
        self._prompter = self._inputs.prompter
        self._frames_kept = frames_kept(self._interface.images, self._prompter.history)
        self._memory = SubtaskMemory(self._prompter)
        self.action_transform = self._inputs.transform.actions
        self._action_limits = [np.asarray(end, np.float32) for end in (chosen.spec.action.low, chosen.spec.action.high)]

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        imagination: bool = False,
        device: str | None = None,
        robot: RobotChoice = None,
        flow_steps: int | None = None,
        action_noise: float | None = None,
        fast: bool = False,
        precision: Precision = "float32",
        trust_code: bool = False,
    ) -> WLAPolicy:
        """A policy from a bundled name ('nano-tabletop'), a checkpoint folder, or a hub id.

        With imagination=False the parts that only predict images are neither built nor read; `act(..., imagine=True)`
        then raises. device: where it computes ('cuda', 'cpu'); a GPU when there is one for full-size policies, the CPU
        for small ones. robot: of a policy for several robots, the name of the one that it acts for, or the robot at
        hand, which decides by its name. flow_steps: integration steps of the actions unless `act` is told; None for the
        model's own. action_noise: standard deviation of the noise that the actions start from; None for that of the
        checkpoint. fast: whether compiled functions act, with the same answers up to rounding (see `wla.policy.fast`).
        precision: of their matrix products. trust_code: whether compiled functions that the hub gave may run.
        ValueError where the policy has no such robot, or several and none is named, and for half precision of a path
        that is not the fast one.
        """
        if precision not in get_args(Precision):
            raise ValueError(f"precision {precision!r}: there are {', '.join(get_args(Precision))}")
        if precision != "float32" and not fast:
            raise ValueError(f"precision {precision} is of compiled functions: ask for them, too (fast=True, --fast)")

        def read(folder: Path) -> WLAPolicy:
            checkpoint = load_checkpoint(folder, imagination=imagination)
            sha = sha256(folder)
            policy = cls(
                checkpoint,
                name=str(name),
                checkpoint_sha256=sha,
                device=device,
                robot=robot,
                flow_steps=flow_steps,
                action_noise=action_noise,
            )
            if fast:
                from wla.policy.fast import fast_model

                trusted = trust_code or find(name) is not None
                policy.model = fast_model(policy.model, folder, trusted=trusted, precision=precision)
            return policy

        return load_from(name, read)

    @property
    def chunk_size(self) -> int:
        """Number of actions in a chunk."""
        return self._interface.chunk

    @property
    def primary(self) -> str:
        """The camera of its robot whose future it predicts."""
        primary = self._inputs.transform.cameras[self._interface.primary]
        assert primary is not None, "every robot has a camera for the primary one"
        return primary

    @property
    def predicts_subtasks(self) -> bool:
        """Whether it generates subtasks before it acts."""
        return self._prompter.predicts_subtasks

    @property
    def reads_past_images(self) -> bool:
        """Whether the primary camera's images of the steps without acting matter to it."""
        return any(ImageKey.parse(name).time != "current" for name in self._interface.images)

    @property
    def imagination(self) -> Imagination | None:
        """Properties of its image prediction; None where its model predicts none, or was loaded without."""
        return self.model.imagination

    @property
    def action_conditioned(self) -> bool:
        """Whether it predicts the images that given actions lead to."""
        return self.imagination is not None and self.imagination.action_conditioned

    def inputs_of(
        self, observation: Observation, state: PolicyState
    ) -> tuple[dict[str, UInt8[np.ndarray, "S S 3"]], str]:
        """What the model reads at a call: its images by name, those of earlier steps among them, and its prompt."""
        return self._inputs.shown(observation, state)

    def resize(self, images: UInt8[np.ndarray, "B H W 3"], side: int) -> UInt8[Tensor, "B S S 3"]:
        """Camera images as squares, as the model reads and predicts them."""
        return self._inputs.resize(images, side)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint that `from_pretrained` and the hub take; an older one in that folder is replaced.

        ValueError when the policy was loaded without imagination, when the folder holds anything but a checkpoint, and
        when it cannot be written.
        """
        if self._interface.imagined_size is not None and self.imagination is None:
            raise ValueError(
                f"{folder}: this policy was loaded without imagination, half of it would be missing; load it with "
                "from_pretrained(..., imagination=True) and save that"
            )
        if checkpoint_folder(Path(folder)) != Path(folder):
            raise ValueError(f"{folder}: belongs to a training run; save to a new folder")
        save_pretrained(self._checkpoint, Path(folder))

    def reset(self, instruction: str, *, seed: int = 0, memory: Sequence[str | MemoryItem] = ()) -> PolicyState:
        """The state at the start of an episode. memory: subtasks finished before it, oldest first.

        ValueError for an instruction that is empty or longer than the prompt has room for, and for a memory over its
        budget.
        """
        self._inputs.require_instruction(instruction)
        return self._memory.begun(instruction, seed, memory)

    def with_memory(self, state: PolicyState, memory: Sequence[str], window: Sequence[str]) -> PolicyState:
        """The state with this memory, oldest first, and `window` as the subtasks that were predicted last.

        Items over the memory's budget are left out, as in acting.
        """
        return self._memory.replaced(state, memory, window)

    def act(
        self,
        observation: Observation,
        state: PolicyState,
        *,
        imagine: bool = False,
        flow_steps: int | None = None,
        prefix: Float32[np.ndarray, "p A"] | None = None,
        delay: int | None = None,
    ) -> tuple[ActionChunk, PolicyState]:
        """The next chunk and the state for the next call.

        imagine: also predict the image of the primary camera after the chunk (after these actions, where the policy is
        action-conditioned). flow_steps: integration steps of the actions; None for `self.flow_steps`. prefix,
        delay: see `Policy.act`. ValueError for a prefix that the model cannot continue.
        """
        begun = None if prefix is None else prefix[None]
        return self.act_batch(
            [observation], [state], imagine=imagine, flow_steps=flow_steps, prefix=begun, delay=delay
        )[0]

    @torch.inference_mode()
    def act_batch(
        self,
        observations: Sequence[Observation],
        states: Sequence[PolicyState],
        *,
        imagine: bool = False,
        flow_steps: int | None = None,
        prefix: Float32[np.ndarray, "B p A"] | None = None,
        delay: int | None = None,
    ) -> list[tuple[ActionChunk, PolicyState]]:
        """`act` for several episodes at once, in one pass through the model."""
        if imagine:
            self.require_imagination()
        encoding = self.encode(observations, states)
        actions = self.sample_actions(encoding, flow_steps=flow_steps, prefix=prefix, delay=delay)
        subgoals = (
            self.predict_images(encoding, actions=actions if self.action_conditioned else None) if imagine else None
        )
        answers = []
        for index, (observation, state) in enumerate(zip(observations, states, strict=True)):
            chunk = self.chunk(encoding, index, actions[index, 0])
            if subgoals is not None:
                chunk = replace(chunk, subgoal=subgoals[index, 0])
            answers.append((chunk, self.advance_state(chunk.subtasks, observation, state)))
        return answers

    @torch.inference_mode()
    def encode(self, observations: Sequence[Observation], states: Sequence[PolicyState]) -> Encoding:
        """One pass of the model over the observations, after generated subtasks where it generates any.

        ValueError names an observation of another robot, and a memory over its budget.
        """
        for state in states:
            self._memory.require_fits(state.memory)
        inputs = self._inputs.build(observations, states)
        encode = self.model.generate if self.predicts_subtasks else self.model.encode
        robot_state = np.stack([observation.state for observation in observations]).astype(np.float32)
        return Encoding(states, encode(inputs), robot_state)

    @torch.inference_mode()
    def sample_actions(
        self,
        encoding: Encoding,
        count: int = 1,
        *,
        flow_steps: int | None = None,
        prefix: Float32[np.ndarray, "B p A"] | None = None,
        delay: int | None = None,
    ) -> Float32[np.ndarray, "B count n A"]:
        """Chunks of actions in environment units, each from its own noise. flow_steps, prefix, delay: see `act`.

        The first is the one that acting alone runs: its noise has the standard deviation `action_noise`. The noise of
        the others has the same, or 1 where that is 0.
        """
        noise = runtime.upload(self.noise(encoding.states, count).transpose(0, 1).flatten(0, 1), self.device)
        begun = None
        if prefix is not None:
            begun = runtime.upload(
                torch.from_numpy(self.action_transform.encode(prefix, encoding.robot_state)), self.device
            )
        steps = flow_steps or self.flow_steps
        rows = self.model.sample_actions(encoding.model, noise=noise, num_steps=steps, prefix=begun, delay=delay)
        return self.decode_actions(rows.unflatten(0, (count, -1)).transpose(0, 1), encoding.robot_state)

    def noise(self, states: Sequence[PolicyState], count: int = 1) -> Float32[Tensor, "B count n A"]:
        """The noise that `sample_actions` starts the chunks of a call from."""
        noise = _noise(states, count, (self._interface.chunk, self._interface.action_dim))
        noise[:, 0] *= self.action_noise
        noise[:, 1:] *= self.action_noise or 1.0
        return noise

    def decode_actions(
        self, sampled: Float[Tensor, "B count n D"], robot_state: Float32[np.ndarray, "B S"]
    ) -> Float32[np.ndarray, "B count n A"]:
        """Chunks of the model in environment units, within the robot's limits."""
        state = _repeated(robot_state, sampled.shape[1])
        return self._clipped(self.action_transform.decode(sampled.float().cpu().numpy(), state))

    @torch.inference_mode()
    def predict_images(
        self,
        encoding: Encoding,
        *,
        samples: int = 1,
        flow_steps: int | None = None,
        actions: Float32[np.ndarray, "B samples n A"] | None = None,
        shared_noise: bool = False,
        noise_offset: int = 0,
    ) -> UInt8[np.ndarray, "B samples H W 3"]:
        """Images that the primary camera may show after a chunk, each from its own noise or all from the same.

        flow_steps: of sampling; None for the policy's own. actions: chunks in environment units, one per image, for an
        action-conditioned policy; None for its plan, of which no chunk was sampled yet. noise_offset: number of images
        of this encoding so far; these continue with the noises after them. ValueError for actions that the model does
        not read, and without imagination.
        """
        imagination, states = self.require_imagination(), encoding.states
        candidates = None
        if actions is not None:
            if not imagination.action_conditioned:
                raise ValueError(
                    f"policy {self.name} does not imagine what given actions lead to (world_expert.actions)"
                )
            state = _repeated(encoding.robot_state, actions.shape[1])
            candidates = runtime.upload(torch.from_numpy(self.action_transform.encode(actions, state)), self.device)
        unconditional = None
        if imagination.guided:
            prompts = self._inputs.without_instruction(encoding.robot_state, states)
            empty = replace(encoding.model.inputs, prompts=prompts, texts=encoding.model.text_tokens)
            unconditional = self.model.encode(empty)
        offset, count = (0, 1) if shared_noise else (noise_offset, samples)
        noise = runtime.upload(_noise(states, offset + count, imagination.noise_shape)[:, offset:], self.device)
        images = self.model.predict_images(
            encoding.model,
            noise=noise.expand(-1, samples, *imagination.noise_shape),
            num_steps=flow_steps,
            actions=candidates,
            unconditional=unconditional,
        )
        return images.cpu().numpy()

    def chunk(self, encoding: Encoding, index: int, actions: Float32[np.ndarray, "n A"]) -> ActionChunk:
        """The answer of the episode at that index, with these actions."""
        return ActionChunk(actions=actions, subtasks=self.subtasks(encoding, index), replan_steps=self.replan_steps)

    def subtasks(self, encoding: Encoding, index: int) -> tuple[str, ...]:
        """The predicted subtasks of the episode at that index."""
        return self._prompter.subtasks(encoding.model.text_tokens[index])

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        """The state after a step without acting; it keeps the primary camera's image if the model reads past ones."""
        state = replace(state, env_step=state.env_step + 1)
        if not self.reads_past_images:
            return state
        return append_frame(state, observation.images[self.primary], self._frames_kept)

    def advance_state(self, subtasks: tuple[str, ...], observation: Observation, state: PolicyState) -> PolicyState:
        """The state after a call that predicted these subtasks: those that they show to be finished are in memory."""
        return self._memory.advance(self.observe(observation, state), subtasks, state.env_step)

    def require_imagination(self) -> Imagination:
        """Properties of its image prediction. ValueError when it predicts no images, or was loaded without."""
        if self._interface.imagined_size is None:
            raise ValueError(f"policy {self.name}: its model predicts no images; act without imagine")
        if self.imagination is None:
            raise ValueError("this policy was loaded without imagination; use load_policy(..., imagination=True)")
        return self.imagination

    def _clipped(self, actions: Float32[np.ndarray, "*B n A"]) -> Float32[np.ndarray, "*B n A"]:
        return np.clip(actions, *self._action_limits)


load_policy = WLAPolicy.from_pretrained


def _repeated(state: Float32[np.ndarray, "B S"], count: int) -> Float32[np.ndarray, "B count S"]:
    return np.repeat(state[:, None], count, axis=1)


def _noise(states: Sequence[PolicyState], count: int, shape: tuple[int, ...]) -> Float32[Tensor, "B count ..."]:
    """Sampling noise that follows from each episode's seed and step, whatever else is in the batch.

    Drawn one by one, so that the first are the same for any count: PyTorch fills a tensor's end in another way than the
    part before it.
    """
    rows = []
    for state in states:
        generator = torch.Generator().manual_seed(state.noise_seed)
        rows.append(torch.stack([torch.randn(shape, generator=generator) for _ in range(count)]))
    return torch.stack(rows)
