"""A policy that acts with ONNX Runtime: the answers of the checkpoint that it was exported from, up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from wla.data.prompts.tokenizer import load_tokenizer
from wla.models.flow_times import step_times
from wla.policy.observation_history import append_frame, frames_kept, images_of
from wla.policy.observations import prompt_of, require_instruction, require_observation
from wla.policy.subtask_memory import SubtaskMemory
from wla.runtime_onnx.files import GRAPHS, POLICY, TIMES, TOKENIZER, OnnxPolicyConfig
from wla.runtime_onnx.graphs import load_graph
from wla.runtime_onnx.noise import normal
from wla.runtime_onnx.reader import PromptReader
from wla.types import ActionChunk, ImageKey, MemoryItem, Observation, PolicyState


class OnnxPolicy:
    """A `wla.types.Policy` in a folder that `wla export --format onnx` wrote. It holds no state of an episode."""

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        """threads: of ONNX Runtime; None for one per core. ValueError without ONNX Runtime, and for a folder that is
        none of a policy in ONNX, or damaged."""
        folder = Path(folder)
        if not (folder / POLICY).is_file():
            raise ValueError(f"{folder}: no policy in ONNX here; write one with wla export CHECKPOINT --format onnx")
        self._config = config = OnnxPolicyConfig.load(folder / POLICY)
        self._interface = interface = config.model.interface
        self.name, self.checkpoint_sha256 = str(folder), config.checkpoint_sha256
        self.robot_spec, self.replan_steps = config.robot.spec, config.replan_steps
        self._prompter = config.prompt.build(load_tokenizer(folder / TOKENIZER), interface.image_tokens)
        self._memory = SubtaskMemory(self._prompter)
        representation = config.action_representation
        self._transform = config.robot.transform(interface, config.normalization, representation, several=False)
        functions = {name: load_graph(folder, name, threads) for name in GRAPHS}
        layers = config.model.backbone.text_sizes.layers
        self._reader = PromptReader(functions, self._prompter, layers, config.max_text_tokens)
        self._start, self._step = functions["start_sampling"], functions["sample_step"]
        try:
            self._times = np.load(folder / TIMES)
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder / TIMES}: cannot be read ({error}); export the policy again") from error

    @property
    def chunk_size(self) -> int:
        """Number of actions in a chunk."""
        return self._interface.chunk

    @property
    def predicts_subtasks(self) -> bool:
        """Whether it generates subtasks before it acts."""
        return self._prompter.predicts_subtasks

    def reset(self, instruction: str, *, seed: int = 0, memory: Sequence[str | MemoryItem] = ()) -> PolicyState:
        """The state at the start of an episode. memory: subtasks finished before it, oldest first. ValueError as for
        the checkpoint's own policy."""
        room = self._config.prompt.instruction_tokens
        require_instruction(self._prompter, self._transform.instruction, instruction, room)
        return self._memory.begun(instruction, seed, memory)

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
        """The next chunk and the state for the next call. ValueError for images and prefixes, which it does not do."""
        for asked, what in ((imagine, "predicts no images"), (prefix is not None, "continues no other chunk (prefix)")):
            if asked:
                raise ValueError(f"a policy in ONNX {what}; load the checkpoint with wla.load_policy")
        require_observation(observation, self.robot_spec.observation)
        self._memory.require_fits(state.memory)
        proprio = self._transform.state.normalize(observation.state[None]).astype(np.float32)
        prompt = prompt_of(self._prompter, self._transform.instruction(state.instruction), proprio[0], state)
        draft = self._prompter.answer(state.subtasks) if state.subtasks and self.predicts_subtasks else []
        images = [self._image(name, side, observation, state) for name, side in self._interface.images.items()]
        text, read = self._reader.read(prompt, draft, images)
        count = self._config.model.queries.count
        actions = self._sample([states[:, -count:] for states in read.layers], proprio, observation, state, flow_steps)
        chunk = ActionChunk(actions, self._prompter.subtasks(text), replan_steps=self.replan_steps)
        return chunk, self._memory.advance(self.observe(observation, state), chunk.subtasks, state.env_step)

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
        """`act` for several episodes, one after the other."""
        rows = [None] * len(states) if prefix is None else list(prefix)
        return [
            self.act(observation, state, imagine=imagine, flow_steps=flow_steps, prefix=row, delay=delay)
            for observation, state, row in zip(observations, states, rows, strict=True)
        ]

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        """The state after a step without acting; it keeps the primary camera's image if the model reads past ones."""
        state = replace(state, env_step=state.env_step + 1)
        if all(ImageKey.parse(name).time == "current" for name in self._interface.images):
            return state
        kept = frames_kept(self._interface.images, self._prompter.history)
        return append_frame(state, observation.images[self._interface.primary], kept)

    def _image(
        self, name: str, side: int, observation: Observation, state: PolicyState
    ) -> UInt8[np.ndarray, "1 S S 3"]:
        (image,) = images_of(name, [observation], [state], self._prompter.history)
        height, width = image.shape[:2]
        if height != width or height % side:
            raise ValueError(
                f"camera {name!r} has {height} x {width} pixels and a policy in ONNX reads squares whose side is a "
                f"multiple of {side}; resize them before"
            )
        factor = height // side
        blocks = image.reshape(side, factor, side, factor, 3).astype(np.float32)
        return blocks.mean(axis=(1, 3)).round().astype(np.uint8)[None]

    def _sample(
        self,
        query_hidden: list[Float32[np.ndarray, "1 Q D"]],
        proprio: Float32[np.ndarray, "1 S"],
        observation: Observation,
        state: PolicyState,
        flow_steps: int | None,
    ) -> Float32[np.ndarray, "n A"]:
        config, transform = self._config.model.action_expert, self._transform
        layers = query_hidden[-config.layers :]
        crosses = [np.ascontiguousarray(layers[j]) for j in range(config.layers) if j % 2 == config.first_cross]
        given = transform.pad_state(proprio)
        condition = self._start(given if given.shape[1] else np.zeros((1, 1), np.float32), *crosses)
        own = (np.arange(transform.actions.dim) < transform.actions.own_dim).astype(np.float32)[None, None]
        x = (
            normal(state.noise_seed, (1, self.chunk_size, transform.actions.dim))
            * np.float32(self._config.action_noise)
            * own
        )
        steps = flow_steps or config.flow_steps
        buckets = np.float32(config.time.buckets)
        for begin, end in pairwise(step_times(steps, config.sampling_shift)):
            row = -1 if steps == 1 and config.one_step else int(np.float32(begin) * buckets)
            (x,) = self._step(x, self._times[row], np.array(end - begin, np.float32), own, *condition)
        decoded = transform.actions.decode(x[:, None], observation.state[None, None].astype(np.float32))[0, 0]
        spec = self.robot_spec.action
        return np.clip(decoded, np.asarray(spec.low, np.float32), np.asarray(spec.high, np.float32))
