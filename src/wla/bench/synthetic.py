"""Policies of any size with random weights, and random batches: speed does not depend on what was learned.

The weights are made on the device. Neither simulator nor video decoder nor bundled weights are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from wla.batch import Batch, left_pad
from wla.bench.observations import INSTRUCTION
from wla.data.normalize import Statistics, VectorStatistics
from wla.data.prompts.chat import END, IMAGE, PAD, START, VISION_END, VISION_START, add_queries
from wla.models import PolicyModel
from wla.policy import Checkpoint, CheckpointConfig, PolicyRobot, WLAPolicy
from wla.policy.fast import fast_model
from wla.presets.wla0 import QUERIES, QWEN_ROWS, presets
from wla.specs import RobotSpec
from wla.types import IGNORE_INDEX, Precision

QWEN_IDS = {PAD: 151_643, START: 151_644, END: 151_645, VISION_START: 151_652, VISION_END: 151_653, IMAGE: 151_655}
WEIGHT_STD = 0.02
NAME = "random weights"


@dataclass(frozen=True)
class Blueprint:
    """A policy without its weights. config.dtype: in which it acts."""

    config: CheckpointConfig
    robot: RobotSpec
    tokenizer: PreTrainedTokenizerFast

    def checkpoint(self, device: torch.device, *, imagination: bool, dtype: torch.dtype) -> Checkpoint:
        """Makes the policy on `device`. imagination: with what predicts images."""
        with init_empty_weights():
            model = self.config.model.build(imagination=imagination)
        generator = torch.Generator(device).manual_seed(0)
        weights = {}
        for name, value in model.state_dict().items():
            made = torch.empty(value.shape, dtype=dtype, device=device)
            if value.ndim > 1:
                weights[name] = made.normal_(0, WEIGHT_STD, generator=generator)
            else:
                weights[name] = made.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        model.load_state_dict(weights, assign=True)
        return self._checkpoint(model.to(device).eval())

    def outline(self) -> Checkpoint:
        """Returns the policy without weights, for what asks for its sizes, prompts and ranges only."""
        with init_empty_weights():
            return self._checkpoint(self.config.model.build(imagination=False))

    def policy(
        self,
        device: torch.device,
        *,
        imagination: bool = False,
        fast: bool = False,
        precision: Precision = "float32",
    ) -> WLAPolicy:
        """Returns the policy, ready to act in its precision. fast, precision: see `wla.policy.load_policy`."""
        dtype = getattr(torch, self.config.dtype)
        made = self.checkpoint(device, imagination=imagination, dtype=dtype)
        policy = WLAPolicy(made, name=NAME, checkpoint_sha256="", device=str(device))
        if fast:
            policy.model = fast_model(policy.model, Path(NAME), trusted=False, precision=precision)
        return policy

    def _checkpoint(self, model: PolicyModel[Any]) -> Checkpoint:
        own = PolicyRobot(spec=self.robot, statistics=unit_statistics(self.robot))
        return Checkpoint(self.config, model, (own,), self.tokenizer)


def full_size(preset: str) -> Blueprint:
    """A published policy, by the name of its preset."""
    found = presets()[preset]
    config = CheckpointConfig(model=found.model, prompt=found.prompt, dtype="bfloat16")
    return Blueprint(config, found.robot, qwen_sized_tokenizer())


def unit_statistics(robot: RobotSpec) -> Statistics:
    """States and actions from -1 to 1."""

    def unit(dim: int) -> VectorStatistics:
        return VectorStatistics(min=(-1.0,) * dim, max=(1.0,) * dim, mean=(0.0,) * dim, std=(1.0,) * dim, count=1)

    return Statistics(state=unit(robot.observation.state_dim), action=unit(robot.action.dim))


def qwen_sized_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes only, in a vocabulary of the size of Qwen's with its special words in their places."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    words = sorted(letters) + [f"<filler_{i}>" for i in range(QWEN_IDS[PAD] - len(letters))]
    core = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    names = {index: word for word, index in QWEN_IDS.items()}
    last = max(names)
    core.add_special_tokens([names.get(i, f"<reserved_{i}>") for i in range(QWEN_IDS[PAD], last + 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, eos_token=END)
    add_queries(tokenizer, first=QWEN_ROWS, queries=QUERIES)
    return tokenizer


def random_batch(checkpoint: Checkpoint, samples: int, seed: int = 0) -> Batch:
    """A training batch of noise in which every sample has every target that the policy learns."""
    interface, robot, prompter = checkpoint.config.model.interface, checkpoint.robot.spec, checkpoint.prompter
    generator = torch.Generator().manual_seed(seed)
    subtasks = (INSTRUCTION,) if prompter.predicts_subtasks else None
    row, labels = prompter.sample(INSTRUCTION, np.zeros(robot.observation.state_dim, np.float32), subtasks)
    tokens, mask = left_pad([row] * samples, prompter.pad)
    shape, target = (samples, interface.chunk, interface.action_dim), interface.subgoal_size

    def pixels(side: int) -> torch.Tensor:
        return torch.randint(0, 256, (samples, side, side, 3), dtype=torch.uint8, generator=generator)

    return Batch(
        tokens=tokens,
        attention_mask=mask,
        labels=left_pad([labels] * samples, IGNORE_INDEX)[0],
        images={name: pixels(side) for name, side in interface.images.items()},
        state=torch.rand(samples, interface.state_dim, generator=generator) * 2 - 1,
        actions=torch.rand(shape, generator=generator) * 2 - 1,
        action_mask=torch.ones(shape, dtype=torch.bool),
        subgoal=None if target is None else pixels(target),
        subgoal_mask=torch.full((samples,), target is not None),
    )
