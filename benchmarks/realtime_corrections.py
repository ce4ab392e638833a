"""Real-time chunking, learned from what a policy executes itself while it waits (DAgger behind a delay).

python benchmarks/realtime_corrections.py collect POLICY --seeds 6000 6090 --delays 3 3 2 0 --out rows.safetensors
python benchmarks/realtime_corrections.py train POLICY rows.safetensors .. --steps 1400 --out CHECKPOINT
python benchmarks/realtime_corrections.py show CHECKPOINT rows.safetensors

POLICY: one that was trained with `realtime.max_delay`, for the tabletop. collect: it acts behind the given delays
(control steps, one episode after the other); at each of its calls, and after 1 to 3 of the actions that were executed
meanwhile, the expert takes over for the rest of a chunk, after which the scene is put back. train: the Action Expert
alone, on what the backbone had read at these calls, so that a step takes a fraction of a second on one core. show: the
loss by delay.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import load_file, save_file
from torch import Tensor

from wla.control.schedule import ChunkSchedule
from wla.envs.registry import make_env
from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.expert import Expert
from wla.models.experts.action_expert import ActionExpert
from wla.models.flow import sample_action_times
from wla.policy import WLAPolicy, load_policy
from wla.progress import track
from wla.types import Observation, PolicyState

REPLAN_STEPS = 4
BATCH, NOISES = 64, 4


@dataclass
class Call:
    """What the policy read at a call, and the chunks that would have been right, by the number of given actions."""

    query_hidden: Float32[Tensor, "layers Q D"]
    proprio: Float32[Tensor, " S"]
    state: Float32[np.ndarray, " S"]
    executed: list[Float32[np.ndarray, " A"]] = field(default_factory=list)
    chunks: list[Float32[np.ndarray, "n A"]] = field(default_factory=list)


def continuation(env: TabletopEnv, steps: int) -> list[Float32[np.ndarray, " A"]]:
    """The expert's next actions; the scene is as before afterwards."""
    expert, before, actions = Expert(env), env.get_state(), []
    env.images_wanted, unseen = False, Observation({}, np.zeros(0, np.float32))
    for _ in range(steps):
        actions.append(expert.act(unseen, PolicyState(""))[0].actions[0])
        env.step(actions[-1])
    env.images_wanted = True
    env.set_state(before)
    return actions


def episode(policy: WLAPolicy, env: TabletopEnv, seed: int, delay: int, max_delay: int) -> tuple[list[Call], bool]:
    """The calls of an episode, and whether it succeeded."""
    raw, info = env.reset(seed=seed)
    state, schedule = policy.reset(info["instruction"], seed=seed), ChunkSchedule("rtc", REPLAN_STEPS)
    calls: list[Call] = []
    pending, step, ended = None, 0, False
    while not ended:
        seen = Observation(**raw)
        if schedule.is_due(delay):
            encoding, options = policy.encode([seen], [state]), schedule.continued(delay)
            if options:
                options = {"prefix": options["prefix"][None], "delay": options["delay"]}
            chunk = policy.chunk(encoding, 0, policy.sample_actions(encoding, **options)[0, 0])
            pending = (chunk, step + (delay if options else 0))  # it stands still while it waits for the first
            schedule, state = schedule.request(), policy.advance_state(chunk.subtasks, seen, state)
            rows = encoding.model
            calls.append(Call(hidden(policy, rows.query_hidden), rows.inputs.proprio[0], encoding.robot_state[0]))
        else:
            state = policy.observe(seen, state)
        if pending is not None and pending[1] <= step:
            schedule, pending = schedule.arrive(pending[0], policy.robot_spec.action), None
        call = calls[-1]
        if len(call.executed) <= max_delay:
            rest = len(schedule.present.actions) - len(call.executed)
            call.chunks.append(np.array([*call.executed, *continuation(env, rest)], np.float32))
        action = schedule.next_action()
        call.executed.append(action)
        _, schedule = schedule.executed()
        raw, _, terminated, truncated, info = env.step(action)
        step, ended = step + 1, terminated or truncated
    return calls, bool(info["success"])


def hidden(policy: WLAPolicy, layers: list[Tensor]) -> Tensor:
    """What the Action Expert reads of one episode's query states, in half precision."""
    return torch.stack([layer[0] for layer in layers[-policy.model.config.action_expert.layers :]]).half()


@torch.inference_mode()
def collect(args: argparse.Namespace) -> None:
    policy = load_policy(args.policy, action_noise=args.action_noise)
    max_delay, transform = policy.model.config.action_expert.max_delay, policy.action_transform
    calls: list[Call] = []
    for task in args.tasks:
        env, successes = make_env("tabletop", task=task), 0
        for index, seed in track(list(enumerate(range(*args.seeds))), task):
            found, success = episode(policy, env, seed, args.delays[index % len(args.delays)], max_delay)
            calls += [call for call in found if len(call.chunks) == max_delay + 1]
            successes += success
        print(f"{task}: {successes} of {len(range(*args.seeds))} succeeded, {len(calls)} calls so far")
    chunks = np.stack([transform.encode(np.stack(call.chunks), call.state[None]) for call in calls])
    columns = {"chunks": torch.from_numpy(chunks).float(), "proprio": torch.stack([call.proprio for call in calls])}
    save_file({**columns, "query_hidden": torch.stack([call.query_hidden for call in calls])}, args.out)


class Rows:
    """Calls of several files, of which the last part is held out."""

    def __init__(self, paths: list[Path]) -> None:
        files = [load_file(path) for path in paths]
        self.query_hidden, self.proprio, self.chunks = (
            torch.cat([file[name] for file in files]) for name in ("query_hidden", "proprio", "chunks")
        )
        self.delays = self.chunks.shape[1]
        self.training = int(0.93 * len(self.chunks))

    def loss(self, expert: ActionExpert, calls: Tensor, delays: Tensor, generator: torch.Generator) -> Tensor:
        chunks = self.chunks[calls, delays]
        noise = torch.randn(NOISES * len(chunks), *chunks.shape[1:], generator=generator)
        times = sample_action_times(expert.config.time, len(noise), generator).float()
        states = list(self.query_hidden[calls].float().unbind(1))
        counted = torch.ones_like(chunks, dtype=torch.bool)
        return expert.loss_at(states, self.proprio[calls], chunks, counted, noise, times, delays.repeat(NOISES))

    @torch.inference_mode()
    def held_out(self, expert: ActionExpert) -> dict[int, float]:
        """Loss by the number of given actions."""
        calls = torch.arange(self.training, len(self.chunks))
        by_delay = ((delay, torch.full_like(calls, delay)) for delay in range(self.delays))
        seeded = torch.Generator().manual_seed
        return {delay: round(float(self.loss(expert, calls, same, seeded(1))), 4) for delay, same in by_delay}


def train(args: argparse.Namespace) -> None:
    policy = load_policy(args.policy, imagination=True)
    expert, rows = policy.model.action_expert, Rows(args.rows)
    expert.requires_grad_(True).train()
    named = list(expert.named_parameters())
    matrices = [value for name, value in named if value.ndim == 2 and "blocks" in name]
    others = [value for name, value in named if value.ndim != 2 or "blocks" not in name]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=20 * args.learning_rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=args.learning_rate, weight_decay=0.01, betas=(0.9, 0.95)),
    ]

    def factor(step: int) -> float:
        return min(1, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / args.steps)))

    schedules = [torch.optim.lr_scheduler.LambdaLR(each, factor) for each in optimizers]
    generator = torch.Generator().manual_seed(0)
    print(f"held-out loss by delay before: {rows.held_out(expert)}")
    for step in track(range(1, args.steps + 1), "training"):
        calls, delays = (torch.randint(most, (BATCH,), generator=generator) for most in (rows.training, rows.delays))
        loss = rows.loss(expert, calls, delays, generator)
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(expert.parameters(), 1.0)
        for each in (*optimizers, *schedules):
            each.step()
        if step % 200 == 0 or step == args.steps:
            print(f"step {step}: loss {loss.item():.4f}, held out by delay {rows.held_out(expert)}")
    expert.requires_grad_(False).eval()
    policy.save_pretrained(args.out)


def show(args: argparse.Namespace) -> None:
    print(Rows(args.rows).held_out(load_policy(args.policy).model.action_expert))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands: Any = parser.add_subparsers(required=True)
    for run in (collect, train, show):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        command.add_argument("policy", help="a checkpoint: folder, bundled name or hub id")
        if run is collect:
            command.add_argument("--tasks", nargs="+", default=["place", "stack", "push", "press"])
            command.add_argument("--seeds", type=int, nargs=2, default=[6000, 6090], help="first and end")
            command.add_argument("--delays", type=int, nargs="+", default=[3, 3, 2, 0])
            command.add_argument("--action-noise", type=float, default=None)
        else:
            command.add_argument("rows", type=Path, nargs="+")
        if run is not show:
            command.add_argument("--out", required=True)
        if run is train:
            command.add_argument("--steps", type=int, default=1400)
            command.add_argument("--learning-rate", type=float, default=7e-4)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
