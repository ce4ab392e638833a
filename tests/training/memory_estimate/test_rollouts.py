"""The estimate of reinforcement learning: what an update really keeps, and what the command says."""

from __future__ import annotations

import tiny
import torch

from wla.cli.main import main
from wla.models.trajectory import Rows
from wla.policy import WLAPolicy, save_checkpoint
from wla.training import NFTConfig, OptimConfig, RLLoopConfig, RLTrainConfig
from wla.training.memory_estimate.rollouts import call_bytes, rollout_memory
from wla.training.rl.exploration import ExploringPolicy
from wla.training.rl.trained import load_trained
from wla.types import PolicyState


def kept_bytes(value: object) -> int:
    match value:
        case torch.Tensor():
            return value.nbytes
        case list():
            return sum(kept_bytes(each) for each in value)
        case Rows():
            return sum(kept_bytes(each) for each in vars(value).values())
        case _:
            return 0


def recipe(policy: str, **changes: object) -> RLTrainConfig:
    loop = RLLoopConfig(optim=OptimConfig(steps=1), batch_size=4)
    return RLTrainConfig(policy=policy, groups=3, group_size=4, loop=loop, **changes)


def test_a_call_keeps_as_many_bytes_as_are_estimated(tmp_path):
    save_checkpoint(tiny.checkpoint(), tmp_path)
    policy = ExploringPolicy(WLAPolicy.from_pretrained(tmp_path), 0.5, None)
    states = [PolicyState(tiny.INSTRUCTIONS[0], seed) for seed in range(6)]
    with policy.exploring():
        policy.act_batch([tiny.observation()] * 6, states)
        encoding, trajectory = policy.samples()
    assert kept_bytes(encoding) + kept_bytes(trajectory) == 6 * call_bytes(tiny.model_config())


def test_weights_and_copies_are_exact_and_rollouts_grow_with_the_calls(tmp_path):
    save_checkpoint(tiny.checkpoint(), tmp_path)
    config = recipe(str(tmp_path))
    checkpoint, trained = load_trained(config)
    few, many = (rollout_memory(config, tiny.model_config(), calls) for calls in (10, 20))
    assert few.weights == sum(value.nbytes for value in checkpoint.model.parameters())
    assert few.copies == 2 * sum(value.nbytes for value in trained.parameters())
    assert few.optimizer_state == 1.5 * few.copies
    assert many.rollouts == 2 * few.rollouts == 2 * 2 * 3 * 4 * 10 * call_bytes(tiny.model_config())
    more_noise = config.replace(objective=NFTConfig(noise_samples_per_chunk=8))
    assert rollout_memory(more_noise, tiny.model_config(), 10).activations > 2 * few.activations


def test_the_command_says_whether_it_fits_and_what_to_lower(capsys):
    assert main(["estimate", "nano_tabletop_rl"]) == 0
    assert "\nfits on a GPU of 24 GB" in capsys.readouterr().out
    assert main(["estimate", "nano_tabletop_rl", "groups=4096", "--gpu", "8"]) == 0
    out = capsys.readouterr().out
    assert "DOES NOT FIT on a GPU of 8 GB" in out
    assert "lower groups or group_size" in out
    assert main(["estimate", "nano_tabletop_rl", "--processes", "2"]) == 2
    assert "runs in one process" in capsys.readouterr().err
