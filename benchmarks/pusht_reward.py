"""Largest reward of an episode of Push-T, of a policy and of random pushes (needs the extra `pusht`).

python benchmarks/pusht_reward.py outputs/pusht --seed 300100 --episodes 100
python benchmarks/pusht_reward.py random --seed 300100 --episodes 100
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

import wla
from wla.envs.registry import make_env
from wla.types import Env, Observation

EXECUTED, MAX_STEPS = 8, 300
Act = Callable[[Observation, int], np.ndarray]


def acting(name: str, instruction: str, seed: int) -> Act:
    """The policy's actions, or a random place every `EXECUTED` steps."""
    rng = np.random.default_rng(seed)
    if name == "random":
        places = rng.uniform(0, 512, (MAX_STEPS // EXECUTED + 1, 2)).astype(np.float32)
        return lambda observation, step: places[step // EXECUTED]
    policy = wla.load_policy(name)
    state, plan = policy.reset(instruction, seed=seed), np.empty((0, 2), np.float32)

    def act(observation: Observation, step: int) -> np.ndarray:
        nonlocal state, plan
        if step % EXECUTED:
            state = policy.observe(observation, state)
        else:
            chunk, state = policy.act(observation, state)
            plan = chunk.actions
        return plan[step % EXECUTED]

    return act


def largest_reward(env: Env, name: str, seed: int) -> float:
    """Covered share of the outline over 0.95, at most 1, at the best step of the episode."""
    raw, info = env.reset(seed=seed)
    act, best = acting(name, info["instruction"], seed), 0.0
    for step in range(MAX_STEPS):
        raw, reward, terminated, _, _ = env.step(act(Observation(raw["images"], raw["state"]), step))
        best = max(best, reward)
        if terminated:
            break
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy")
    parser.add_argument("--seed", type=int, default=300_100)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    env = make_env("pusht", task="push_t")
    rewards = [largest_reward(env, args.policy, args.seed + number) for number in range(args.episodes)]
    half = 1.96 * np.std(rewards, ddof=1) / len(rewards) ** 0.5 if len(rewards) > 1 else float("nan")
    solved = sum(reward >= 1 for reward in rewards)
    print(f"{args.policy}: {np.mean(rewards):.3f} +- {half:.3f} (n = {len(rewards)}), solved {solved}")


if __name__ == "__main__":
    main()
