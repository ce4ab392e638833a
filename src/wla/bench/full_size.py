"""Acting and training of the published size, with random weights made on the device: none have to be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import torch

from wla.bench.act import Call, load_paths, measure_act
from wla.bench.observations import INSTRUCTION, random_observation
from wla.bench.results import Results, peak_gpu_memory
from wla.bench.synthetic import Blueprint, full_size
from wla.bench.timing import Budget, in_turns
from wla.bench.train import measure_training
from wla.policy import WLAPolicy

TITLE, TRAINING = "act, full size", "train, full size"
BLUEPRINTS: Mapping[str, Callable[[], Blueprint]] = {
    "plain": cache(lambda: full_size("wla0_libero")),
    "language": cache(lambda: full_size("wla0_rmbench")),
}
"""What acts without text, and what generates subtasks."""
ROUNDS, IMAGE_ROUNDS = 50, 10
CANDIDATES = (2, 8)
SAMPLES = (32, 8, 1)
"""Of a training step; the most that fit into memory."""


def measure_full_act(
    results: Results,
    device: torch.device,
    budget: Budget,
    blueprints: Mapping[str, Callable[[], Blueprint]] = BLUEPRINTS,
) -> None:
    """Adds the rows of the full size: by path and flow steps, stages, text, candidates with images, memory."""
    with results.section(TITLE), peak_gpu_memory(results, f"{TITLE}, memory", device):
        paths = load_paths(results, TITLE, partial(blueprints["plain"]().policy, device), budget)
        policy = paths["reference"]
        measure_act(results, TITLE, paths, [first_call(policy)], ROUNDS, budget.share(0.5))
        measure_stages(results, policy, budget.share(0.2))
        del policy, paths
    with results.section(f"{TITLE}, text"):
        measure_texts(results, blueprints["language"]().policy(device), budget.share(0.5))
    with results.section(f"{TITLE}, candidates"):
        measure_candidates(results, blueprints["plain"]().policy(device, imagination=True), budget)


def first_call(policy: WLAPolicy) -> Call:
    """The first call of an episode that shows noise."""
    return Call(random_observation(policy.robot_spec), policy.reset(INSTRUCTION))


def measure_stages(results: Results, policy: WLAPolicy, budget: Budget) -> None:
    """Adds the two stages of acting without text: reading the observation, and sampling a chunk."""
    call = first_call(policy)
    encoding = policy.encode([call.observation], [call.state])
    variants: dict[str, Callable[[int], object]] = {
        f"{TITLE}, reference, vision and prompt": lambda _: policy.encode([call.observation], [call.state]),
        f"{TITLE}, reference, sampling": lambda _: policy.sample_actions(encoding),
    }
    for name, found in in_turns(variants, ROUNDS, budget, policy.device).items():
        results.add_times(name, found.ms)


def measure_texts(results: Results, policy: WLAPolicy, budget: Budget) -> None:
    """Adds the prompt alone, its text decoded token by token, and the same text as a draft that is verified."""
    call = first_call(policy)
    with torch.inference_mode():
        read = policy.encode([call.observation], [call.state]).model
        drafted = replace(read.inputs, texts=read.text_tokens)
        tokens = len(read.text_tokens[0])
        names = [
            f"{TITLE}, prompt without text",
            f"{TITLE}, text decoded token by token",
            f"{TITLE}, text as a draft",
        ]
        plain = replace(read.inputs, texts=[[]])
        variants: dict[str, Callable[[int], object]] = {
            names[0]: lambda _: policy.model.encode(plain),
            names[1]: lambda _: policy.model.generate(plain),
            names[2]: lambda _: policy.model.generate(drafted),
        }
        timed = in_turns(variants, ROUNDS, budget, policy.device)
    for name, found in timed.items():
        results.add_times(name, found.ms)
    results.compare(f"{TITLE}: a draft of {tokens} tokens", names[1], names[2], "p50 ms")


def measure_candidates(results: Results, policy: WLAPolicy, budget: Budget) -> None:
    """Adds several chunks from one encoding, with an image for each."""
    call = first_call(policy)

    def act(count: int, _: int) -> None:
        encoding = policy.encode([call.observation], [call.state])
        policy.sample_actions(encoding, count)
        policy.predict_images(encoding, samples=count)

    variants = {f"{TITLE}, {count} candidates with images": partial(act, count) for count in CANDIDATES}
    for name, found in in_turns(variants, IMAGE_ROUNDS, budget, policy.device, warm_up=1).items():
        results.add_times(name, found.ms)


def measure_full_training(
    results: Results,
    device: torch.device,
    budget: Budget,
    blueprints: Mapping[str, Callable[[], Blueprint]] = BLUEPRINTS,
) -> None:
    """Adds training of the full size as published: fp32 weights, bf16 products, activations computed again."""

    def measure(name: str, samples: int) -> None:
        made = blueprints["plain"]().checkpoint(device, imagination=True, dtype=torch.float32)
        made.model.enable_activation_checkpointing()
        measure_training(results, name, made, samples, device, budget)

    for samples in SAMPLES:
        name = f"{TRAINING}, {samples} samples"
        with results.section(name):
            measure(name, samples)
            break
