"""Acting with a trained model: observation -> prompt -> text -> query states -> action chunk (-> imagined image)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from wla.data.normalize import MinMaxNormalizer
from wla.data.prompts import left_pad
from wla.data.transforms import shrink
from wla.policy.checkpoint import Checkpoint, load_checkpoint, sha256
from wla.policy.locate import locate
from wla.specs import RobotSpec
from wla.types import ActionChunk, Observation, PolicyState

MAX_TEXT_TOKENS = 48


def load_policy(name: str | Path, *, imagination: bool = False) -> WLAPolicy:
    """A policy from a bundled name ('nano-tabletop'), a checkpoint folder, or a hub id.

    With imagination=False World Expert and codec are neither built nor read; `act(..., imagine=True)` then raises.
    """
    folder = locate(name)
    return WLAPolicy(load_checkpoint(folder, imagination=imagination), name=str(name), checkpoint_sha256=sha256(folder))


class WLAPolicy:
    """A `wla.types.Policy`. It holds no state of an episode: one object serves any number of them."""

    def __init__(self, checkpoint: Checkpoint, *, name: str, checkpoint_sha256: str) -> None:
        self.name = name
        self.checkpoint_sha256 = checkpoint_sha256
        self.robot_spec: RobotSpec = checkpoint.robot_spec
        self.model = checkpoint.model
        self._execute = checkpoint.config.execute
        self._prompter = checkpoint.prompter
        self._state: MinMaxNormalizer = checkpoint.state_normalizer
        self._action: MinMaxNormalizer = checkpoint.action_normalizer

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        """The state at the start of an episode. ValueError for an empty instruction."""
        if not instruction.strip():
            raise ValueError("the instruction is empty; say in words what the robot should do")
        return PolicyState(instruction=instruction, seed=seed)

    def act(
        self, observation: Observation, state: PolicyState, *, imagine: bool = False
    ) -> tuple[ActionChunk, PolicyState]:
        """The next chunk; with imagine=True also the image that the primary camera should show after it."""
        return self.act_batch([observation], [state], imagine=imagine)[0]

    @torch.inference_mode()
    def act_batch(
        self, observations: Sequence[Observation], states: Sequence[PolicyState], *, imagine: bool = False
    ) -> list[tuple[ActionChunk, PolicyState]]:
        """As `act`, for several episodes at once (one pass through the model)."""
        if imagine and self.model.world_expert is None:
            raise ValueError("this policy was loaded without imagination; use load_policy(..., imagination=True)")
        for observation in observations:
            self._check(observation)
        proprioception = self._state.normalize(np.stack([observation.state for observation in observations]))
        rows = [
            self._prompter.prompt(state.instruction, values)
            for state, values in zip(states, proprioception, strict=True)
        ]
        tokens, mask = left_pad(rows, self._prompter.pad)
        images = {
            camera: shrink(np.stack([observation.images[camera] for observation in observations]), side)
            for camera, side in self.model.config.backbone.cameras.items()
        }
        context = self.model.read(tokens, mask, images)
        texts: list[list[int]] = [[] for _ in states]
        if self._prompter.speaks:
            context, texts = self.model.decode_text(context, self._prompter.stop, MAX_TEXT_TOKENS)
        drops, endings = zip(*(self._prompter.continuation(text) for text in texts), strict=True)
        queries = self.model.read_queries(context, *left_pad(endings, self._prompter.pad), torch.tensor(drops))
        expert = self.model.config.action_expert
        noise = _noise(states, (expert.chunk, expert.action_dim))
        actions = self.model.sample_actions(queries, torch.from_numpy(proprioception), noise).float().numpy()
        subgoals = None
        if imagine:
            world = self.model.config.world_expert
            latent = (world.latent_channels, world.latent_size, world.latent_size)
            primary = images[self.model.backbone.primary]
            subgoals = self.model.imagine(context, queries, primary, _noise(states, latent)).numpy()
        answers = []
        for index, state in enumerate(states):
            subtasks = self._prompter.subtasks(texts[index])
            chunk = ActionChunk(
                actions=self._in_limits(self._action.denormalize(actions[index])),
                subtasks=subtasks,
                subgoal=None if subgoals is None else subgoals[index],
                execute=self._execute,
            )
            answers.append((chunk, replace(state, step=state.step + 1, subtasks=subtasks)))
        return answers

    def _in_limits(self, actions: Float32[np.ndarray, "n A"]) -> Float32[np.ndarray, "n A"]:
        spec = self.robot_spec.action
        return np.clip(actions, np.asarray(spec.low, np.float32), np.asarray(spec.high, np.float32))

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


def _noise(states: Sequence[PolicyState], shape: tuple[int, ...]) -> Float32[Tensor, "B ..."]:
    """Sampling noise that each episode's seed and step decide, whatever else is in the batch."""
    rows = []
    for state in states:
        generator = torch.Generator().manual_seed((state.seed * 1_000_003 + state.step) % 2**63)
        rows.append(torch.randn(shape, generator=generator))
    return torch.stack(rows)
