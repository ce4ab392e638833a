"""Acting with a trained model: observation -> prompt -> text -> query states -> action chunk (-> imagined image)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from wla import runtime
from wla.data.memory import MemoryConfig, prune_memory, update_memory
from wla.data.normalize import MinMaxNormalizer
from wla.data.transforms import resize
from wla.files import disk_errors
from wla.policy.checkpoint import Checkpoint, foreign_files, load_checkpoint, save_checkpoint, sha256
from wla.policy.hub import resolve
from wla.policy.observation_history import append_frame, images_of
from wla.policy.speculative_decoding import DecodeResult, TextDecoder
from wla.specs import RobotSpec
from wla.types import FIRST, HISTORY, ActionChunk, MemoryItem, Observation, PolicyState

MAX_CPU_PARAMETERS = 10**8
"""Parameters below which a policy acts on the CPU unless a device is named: there a GPU gains nothing."""


def load_policy(name: str | Path, *, imagination: bool = False, device: str | None = None) -> WLAPolicy:
    """See `WLAPolicy.from_pretrained`."""
    return WLAPolicy.from_pretrained(name, imagination=imagination, device=device)


class Inputs(NamedTuple):
    """Tokens of the prompts, images at the sides that the backbone sees, states in [-1, 1]; a row for each episode."""

    prompts: list[list[int]]
    images: dict[str, UInt8[Tensor, "B H W 3"]]
    proprio: Float32[np.ndarray, "B S"]


class Encoding(NamedTuple):
    """What the backbone made of some observations: one read serves any number of chunks and images."""

    states: Sequence[PolicyState]
    inputs: Inputs
    decoded: DecodeResult


class WLAPolicy:
    """A `wla.types.Policy`. It holds no state of an episode: one object serves any number of them."""

    def __init__(self, checkpoint: Checkpoint, *, name: str, checkpoint_sha256: str, device: str | None = None) -> None:
        self.name = name
        self.checkpoint_sha256 = checkpoint_sha256
        self._checkpoint = checkpoint
        self.robot_spec: RobotSpec = checkpoint.robot_spec
        small = sum(parameter.numel() for parameter in checkpoint.model.parameters()) < MAX_CPU_PARAMETERS
        self.device = runtime.device("cpu" if device is None and small else device)
        self.model = checkpoint.model.to(self.device)
        self.replan_steps = checkpoint.config.replan_steps
        self.action_noise = checkpoint.config.action_noise
        self._prompter = checkpoint.prompter
        self.text_decoder = TextDecoder(self.model, self._prompter, self.device)
        # A policy that is told nothing of the past still shows what it finished.
        self._budget = self._prompter.memory or MemoryConfig()
        self._state_normalizer: MinMaxNormalizer = checkpoint.state_normalizer
        self._action_normalizer: MinMaxNormalizer = checkpoint.action_normalizer

    @classmethod
    def from_pretrained(cls, name: str | Path, *, imagination: bool = False, device: str | None = None) -> WLAPolicy:
        """A policy from a bundled name ('nano-tabletop'), a checkpoint folder, or a hub id.

        With imagination=False World Expert and codec are neither built nor read; `act(..., imagine=True)` then raises.
        device: where it computes ('cuda', 'cpu'); a GPU when there is one for full-size policies, the CPU for small
        ones.
        """
        folder = resolve(name)
        checkpoint = load_checkpoint(folder, imagination=imagination)
        return cls(checkpoint, name=str(name), checkpoint_sha256=sha256(folder), device=device)

    @property
    def predicts_subtasks(self) -> bool:
        """Whether it says subtasks before it acts."""
        return self._prompter.predicts_subtasks

    @property
    def action_conditioned(self) -> bool:
        """Whether its World Expert imagines what given actions lead to."""
        return self.model.config.world_expert.actions is not None

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint that `from_pretrained` and the hub take; an older one in that folder is replaced.

        ValueError when the policy was loaded without imagination, when the folder holds anything but a checkpoint, and
        when it cannot be written.
        """
        folder = Path(folder)
        if self.model.world_expert is None:
            raise ValueError(
                f"{folder}: this policy was loaded without imagination, half of it would be missing; load it with "
                "from_pretrained(..., imagination=True) and save that"
            )
        foreign = foreign_files(folder)
        if foreign:
            raise ValueError(f"{folder}: holds {foreign[0]}, which saving would remove; save to a new folder")
        with disk_errors(folder, "free disk space or choose another folder"):
            save_checkpoint(self._checkpoint, folder)

    def reset(self, instruction: str, *, seed: int = 0, memory: Sequence[str | MemoryItem] = ()) -> PolicyState:
        """The state at the start of an episode. memory: what was done before it, oldest first.

        ValueError for an instruction that is empty or longer than the prompt has room for, and for a memory over its
        budget.
        """
        if not instruction.strip():
            raise ValueError("the instruction is empty; say in words what the robot should do")
        length, room = self._prompter.instruction_length(instruction), self._prompter.config.instruction_tokens
        if length > room:
            raise ValueError(f"the instruction has {length} tokens, this policy reads {room}: say it shorter")
        items = [MemoryItem(item, 0, 0) if isinstance(item, str) else item for item in memory]
        state = PolicyState(instruction=instruction, seed=seed, memory=tuple(items))
        self._require_memory_fits(state)
        return state

    def with_memory(self, state: PolicyState, memory: Sequence[str], window: Sequence[str]) -> PolicyState:
        """The state as if this had been finished, oldest first, and the window had been said last.

        What is over the memory's budget is left out, as in acting.
        """
        items = prune_memory(
            [MemoryItem(text, 0, 0) for text in memory], self._budget, lambda i: i.text, self._prompter.length
        )
        return replace(state, memory=items, subtasks=tuple(window))

    def act(
        self,
        observation: Observation,
        state: PolicyState,
        *,
        imagine: bool = False,
        flow_steps: int | None = None,
        prefix: Float32[np.ndarray, "p A"] | None = None,
    ) -> tuple[ActionChunk, PolicyState]:
        """The next chunk; with imagine=True also the image that the primary camera should show after it.

        A policy that imagines what given actions lead to is told this chunk's.
        """
        prefixes = None if prefix is None else prefix[None]
        return self.act_batch([observation], [state], imagine=imagine, flow_steps=flow_steps, prefix=prefixes)[0]

    @torch.inference_mode()
    def act_batch(
        self,
        observations: Sequence[Observation],
        states: Sequence[PolicyState],
        *,
        imagine: bool = False,
        flow_steps: int | None = None,
        prefix: Float32[np.ndarray, "B p A"] | None = None,
    ) -> list[tuple[ActionChunk, PolicyState]]:
        """As `act`, for several episodes at once (one pass through the model)."""
        assert (flow_steps, prefix) == (None, None), "not supported by the model"
        if imagine:
            self._require_imagination()
        encoding = self.encode(observations, states)
        actions = self.sample_actions(encoding)
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
        """Words, if it speaks, and query states. ValueError as for `inputs`."""
        inputs = self.inputs(observations, states)
        if self._prompter.predicts_subtasks:
            drafts = [self._prompter.answer(state.subtasks) if state.subtasks else [] for state in states]
            return Encoding(states, inputs, self.text_decoder.generate(inputs.prompts, inputs.images, drafts))
        return Encoding(
            states, inputs, self.text_decoder.encode_given(inputs.prompts, inputs.images, [[] for _ in states])
        )

    @torch.inference_mode()
    def sample_actions(self, encoding: Encoding, count: int = 1) -> Float32[np.ndarray, "B count n A"]:
        """Chunks of actions in environment units, each from its own noise, all from one read.

        The first is the one that acting alone runs: its noise is as wide as `action_noise` says. The others' is as
        wide, or 1 where acting alone draws none.
        """
        expert = self.model.config.action_expert
        noise = _noise(encoding.states, count, (expert.chunk, expert.action_dim)).to(self.device)
        noise[:, 0] *= self.action_noise
        noise[:, 1:] *= self.action_noise or 1.0
        proprio = torch.from_numpy(encoding.inputs.proprio).to(self.device)
        rows = self.model.sample_actions(encoding.decoded.query_hidden, proprio, noise.transpose(0, 1).flatten(0, 1))
        sampled = rows.unflatten(0, (count, -1)).transpose(0, 1)
        return self._in_limits(self._action_normalizer.denormalize(sampled.float().cpu().numpy()))

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

        after: how many images of this thought there are already: these go on with the noises that follow. actions:
        chunks in environment units, one for each image, for a policy that imagines what given actions lead to; None for
        what it plans, of which no chunk was sampled yet. steps: of sampling; None for the policy's own. ValueError for
        actions that the World Expert does not read, and without imagination.
        """
        self._require_imagination()
        states, (_, images, proprio), read = encoding
        world = self.model.config.world_expert
        candidates = state = None
        if actions is not None:
            if not self.action_conditioned:
                raise ValueError(
                    f"policy {self.name} does not imagine what given actions lead to (world_expert.actions)"
                )
            candidates = torch.from_numpy(self._action_normalizer.normalize(actions)).to(self.device)
            state = torch.from_numpy(proprio).to(self.device)
        empty = None
        if world.guidance != 1.0:
            nothing = self._prompts([""] * len(states), proprio, states)
            _, without, queries_without = self.text_decoder.encode_given(nothing, images, read.text_tokens)
            empty = (without, queries_without)
        shape = (world.latent_channels, world.latent_size, world.latent_size)
        noises = _noise(states, 1 if shared_noise else noise_offset + samples, shape)[
            :, 0 if shared_noise else noise_offset :
        ]
        noise = noises.to(self.device).expand(-1, samples, -1, -1, -1)
        present = images[self.model.backbone.primary]
        imagined = self.model.imagine(
            read.context, read.query_hidden, present, noise, empty, flow_steps, candidates, state
        )
        return imagined.cpu().numpy()

    def chunk(self, encoding: Encoding, index: int, actions: Float32[np.ndarray, "n A"]) -> ActionChunk:
        """What the policy answers in the episode of that index, with these actions."""
        return ActionChunk(actions=actions, subtasks=self.subtasks(encoding, index), replan_steps=self.replan_steps)

    def subtasks(self, encoding: Encoding, index: int) -> tuple[str, ...]:
        """What the policy says in the episode of that index."""
        return self._prompter.subtasks(encoding.decoded.text_tokens[index])

    def inputs(self, observations: Sequence[Observation], states: Sequence[PolicyState]) -> Inputs:
        """What the model reads before it says or does anything.

        ValueError names what does not fit: an observation of another robot, a memory over its budget.
        """
        for observation, state in zip(observations, states, strict=True):
            self._check(observation)
            self._require_memory_fits(state)
        proprio = self._state_normalizer.normalize(np.stack([observation.state for observation in observations]))
        images = {
            name: resize(np.stack(images_of(name, observations, states, self._prompter.history)), side).to(self.device)
            for name, side in self.model.config.backbone.cameras.items()
        }
        return Inputs(self._prompts([state.instruction for state in states], proprio, states), images, proprio)

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        """Remember what the primary camera shows at a step without acting, as far as the model looks back."""
        state = replace(state, env_step=state.env_step + 1)
        if not any(name.startswith((HISTORY, FIRST)) for name in self.model.backbone.image_tokens):
            return state
        return append_frame(state, observation.images[self.model.backbone.primary], self._prompter.history)

    def advance_state(self, subtasks: tuple[str, ...], observation: Observation, state: PolicyState) -> PolicyState:
        """The state after a call that said this window: what the window shows to be finished is in memory."""
        now, state = state.env_step, self.observe(observation, state)
        memory, subtask_start = update_memory(state.memory, state.subtasks, state.subtask_start, subtasks, now)
        if memory != state.memory:
            memory = prune_memory(memory, self._budget, lambda item: item.text, self._prompter.length)
        return replace(
            state, num_calls=state.num_calls + 1, memory=memory, subtasks=subtasks, subtask_start=subtask_start
        )

    def _require_imagination(self) -> None:
        if self.model.world_expert is None:
            raise ValueError("this policy was loaded without imagination; use load_policy(..., imagination=True)")

    def _prompts(
        self, instructions: Sequence[str], proprio: Float32[np.ndarray, "B S"], states: Sequence[PolicyState]
    ) -> list[list[int]]:
        return [
            self._prompter.prompt(
                instruction,
                values,
                memory=[item.text for item in state.memory],
                current_subtasks=state.subtasks,
                has_history=len(state.frame_history) >= self._prompter.history,
            )
            for instruction, values, state in zip(instructions, proprio, states, strict=True)
        ]

    def _in_limits(self, actions: Float32[np.ndarray, "*B n A"]) -> Float32[np.ndarray, "*B n A"]:
        spec = self.robot_spec.action
        return np.clip(actions, np.asarray(spec.low, np.float32), np.asarray(spec.high, np.float32))

    def _require_memory_fits(self, state: PolicyState) -> None:
        """ValueError for a memory, edited from outside, that is over its budget or holds an item without words."""
        length = sum(self._prompter.length(item.text) for item in state.memory)
        if length > self._budget.tokens:
            raise ValueError(
                f"the memory has {length} tokens in {len(state.memory)} items, this policy reads "
                f"{self._budget.tokens}: leave out or shorten some"
            )
        if not all(item.text.strip() for item in state.memory):
            raise ValueError("an item of the memory is empty; leave it out")

    def _check(self, observation: Observation) -> None:
        """ValueError naming the first thing that does not fit the robot that this policy was trained for."""
        spec = self.robot_spec.observation
        for camera, (height, width) in spec.cameras.items():
            if camera not in observation.images:
                raise ValueError(
                    f"observation: camera {camera!r} is missing, there are {sorted(observation.images)}; "
                    f"this policy needs {list(spec.cameras)}"
                )
            image = observation.images[camera]
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != (height, width, 3):
                raise ValueError(
                    f"observation: image {camera!r} is {_described(image)}; "
                    f"this policy needs uint8 ({height}, {width}, 3), RGB"
                )
        values = observation.state
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.shape != (spec.state_dim,):
            raise ValueError(
                f"observation: state is {_described(values)}; this policy needs float32 ({spec.state_dim},): "
                f"{', '.join(spec.state_names)}"
            )
        if not np.isfinite(values).all():
            wrong = [n for n, v in zip(spec.state_names, values, strict=True) if not np.isfinite(v)]
            raise ValueError(f"observation: state is not finite in {', '.join(wrong)}; check the robot's sensors")


def _described(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _noise(states: Sequence[PolicyState], count: int, shape: tuple[int, ...]) -> Float32[Tensor, "B count ..."]:
    """Sampling noises that each episode's seed and step decide, whatever else is in the batch.

    Drawn one by one, so that the first are the same however many there are: PyTorch fills a tensor's end in another way
    than what comes before it.
    """
    rows = []
    for state in states:
        generator = torch.Generator().manual_seed((state.seed * 1_000_003 + state.num_calls) % 2**63)
        rows.append(torch.stack([torch.randn(shape, generator=generator) for _ in range(count)]))
    return torch.stack(rows)
