"""What a server adds to a policy's own time, and what batching gains.

python benchmarks/serving.py overhead [--images 2x96 3x256] [--clients 1 8] [--stalled 0 100] [--requests 2000]
python benchmarks/serving.py batching [--policy nano-tabletop] [--clients 8] [--requests 20]
python benchmarks/serving.py soak [--requests 1000000] [--drops 10000]
python benchmarks/serving.py fuzz [--requests 1000000] [--seed 0]

The server runs in a process of its own, clients are threads of this one. overhead: a policy that answers at once;
milliseconds from sending a request until its reply is decoded, median and 99th percentile. batching: requests a second
of clients that ask one after the other, and of the same clients at once. soak: memory of the server (RSS) after every
tenth of the requests, and the time until the places of dropped connections are free. fuzz: frames that are random,
mutated, cut, nested or of huge declared sizes, by four clients; how each was answered, and memory after every tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import random
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import psutil

from wla.bench.stored import store
from wla.serving.client import RemotePolicy, RemoteState
from wla.serving.server import PolicyServer, ServerConfig
from wla.serving.wire import pack
from wla.specs import ActionSpec, ObservationSpec, RobotSpec
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState

NAME = "serving"


def constant_robot(cameras: int, side: int) -> RobotSpec:
    names = tuple(f"joint {index}" for index in range(7))
    return RobotSpec(
        embodiment="constant",
        action=ActionSpec(
            names=names, units=("rad",) * 7, kinds=("absolute",) * 7, low=(-3.0,) * 7, high=(3.0,) * 7,
            frame="joint", gripper="none", rate_hz=30.0,
        ),
        observation=ObservationSpec(
            cameras={f"camera{index}": (side, side) for index in range(cameras)},
            state_names=names, state_units=("rad",) * 7, state_frame="joint",
        ),
    )  # fmt: skip


class ConstantPolicy(BasePolicy[PolicyState]):
    """Answers at once: a chunk of 16 zeros."""

    def __init__(self, cameras: int, side: int) -> None:
        self.robot_spec = constant_robot(cameras, side)

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation, state, **options):
        return ActionChunk(np.zeros((16, 7), np.float32)), state


def _serve(policy, pipe) -> None:
    if isinstance(policy, str):
        from wla.policy.wla_policy import load_policy

        policy = load_policy(policy)

    logging.getLogger("wla.serving").setLevel(logging.ERROR)

    async def run() -> None:
        async with PolicyServer(policy, "benchmark", ServerConfig(port=0)) as server:
            pipe.send(server.port)
            await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def served(policy):
    """Address and process of a server in another process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(policy, theirs), daemon=True)
    process.start()
    try:
        yield f"ws://127.0.0.1:{ours.recv()}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


def observation(robot: RobotSpec, rng: np.random.Generator) -> Observation:
    sizes = robot.observation.cameras.items()
    images = {name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in sizes}
    return Observation(images, np.zeros(robot.observation.state_dim, np.float32))


def episode(client: RemotePolicy, requests: int, seed: int) -> np.ndarray:
    """Milliseconds of each request of an episode, the first 5 left out."""
    seen, state, times = observation(client.robot_spec, np.random.default_rng(seed)), client.reset("go", seed=seed), []
    for _ in range(requests):
        began = time.perf_counter()
        _, state = client.act(seen, state)
        times.append(1000 * (time.perf_counter() - began))
    return np.array(times[5:] or times)


def go_on(client: RemotePolicy, state: RemoteState, requests: int) -> RemoteState:
    """The state of an episode after more requests."""
    seen = observation(client.robot_spec, np.random.default_rng(0))
    for _ in range(requests):
        _, state = client.act(seen, state)
    return state


def overhead(args: argparse.Namespace) -> None:
    for images in args.images:
        cameras, side = map(int, images.split("x"))
        for stalled in args.stalled:
            for clients in args.clients:
                with served(ConstantPolicy(cameras, side)) as (address, _), ExitStack() as open_connections:
                    stall(address, stalled, open_connections)
                    policies = [RemotePolicy(address) for _ in range(clients)]
                    with ThreadPoolExecutor(clients) as pool:
                        times = np.concatenate(
                            list(pool.map(partial(episode, requests=args.requests // clients, seed=0), policies))
                        )
                    median, p99 = np.percentile(times, [50, 99])
                    figures = {"median_ms": round(float(median), 2), "p99_ms": round(float(p99), 2)}
                    case = {"images": images, "clients": clients, "stalled": stalled, "requests": len(times)}
                    store(NAME, {"kind": "overhead", **case, **figures})


def stall(address: str, count: int, stack: ExitStack) -> None:
    """Connections that send half of a frame, or a request whose reply they never read."""
    from websockets.sync.client import connect

    for index in range(count):
        connection = stack.enter_context(connect(address, compression=None))
        if index % 2:
            connection.socket.sendall(b"\x82\xfe\xff\xff")
        else:
            connection.send(pack({"prompt": "x"}))


def batching(args: argparse.Namespace) -> None:
    with served(args.policy) as (address, _):
        policies = [RemotePolicy(address) for _ in range(args.clients[-1])]
        episode(policies[0], 5, 0)
        for together in (False, True, False, True):
            began = time.perf_counter()
            with ThreadPoolExecutor(len(policies) if together else 1) as pool:
                list(pool.map(lambda each: episode(each[1], args.requests, each[0]), enumerate(policies)))
            rate = len(policies) * args.requests / (time.perf_counter() - began)
            case = {"policy": args.policy, "clients": len(policies), "together": together}
            store(NAME, {"kind": "batching", **case, "requests_per_second": round(rate, 1)})


def soak(args: argparse.Namespace) -> None:
    with served(ConstantPolicy(2, 96)) as (address, process):
        policies, memory = [RemotePolicy(address) for _ in range(4)], {}
        states = [policy.reset("go") for policy in policies]
        with ThreadPoolExecutor(4) as pool:
            done = 0
            for count in (args.requests // 100, *[args.requests // 10 * part for part in range(1, 11)]):
                each = (count - done) // 4
                states = list(pool.map(partial(go_on, requests=each), policies, states))
                done = count
                memory[count] = process.memory_info().rss / 2**20
        from websockets.sync.client import connect

        before = process.num_fds()
        for _ in range(args.drops):
            with connect(address, compression=None) as connection:
                connection.send(pack({"prompt": "x"}))
                connection.socket.close()
        began = time.perf_counter()
        while process.num_fds() > before and time.perf_counter() - began < 10:
            time.sleep(0.01)
        freed = round(time.perf_counter() - began, 2)
        rss = {str(count): round(value, 1) for count, value in memory.items()}
        store(NAME, {"kind": "soak", "rss_mb": rss, "dropped": args.drops, "places_free_after_s": freed})


def bad_frame(rng: random.Random, good: bytes) -> bytes | str:
    """A frame as broken or hostile clients send them; a few are valid requests."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(512))
    if kind == 1:
        return b"\x91" * rng.randrange(1, 5000) + b"\xc0"  # arrays in arrays
    if kind == 2:  # a declared size, up to 4 GiB, of what is not there
        kind_of_value = rng.choice([b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
        return b"\x81\xa1x" + kind_of_value + struct.pack(">I", rng.getrandbits(32))
    if kind == 3:
        return rng.choice(["", "{}", "\u2028", "infer", "\x00"]) * rng.randrange(1, 100)
    frame = bytearray(good)
    for _ in range(rng.randrange(1, 6)):
        # most often in the names, types and shapes before the pixels
        place = rng.randrange(len(frame) if rng.random() < 0.3 else min(len(frame), 200))
        frame[place] = rng.randrange(256)
    return bytes(frame if kind == 4 else frame[: rng.randrange(len(frame))])


def attack(address: str, frames: int, seed: int) -> Counter[str]:
    """How many of the frames were answered in which way."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    rng, answers, connection = random.Random(seed), Counter[str](), None
    image = np.zeros((8, 8, 3), np.uint8)
    good = pack({"observation/image": image, "observation/state": np.zeros(7, np.float32), "prompt": "go"})
    for _ in range(frames):
        try:
            if connection is None:
                connection = connect(address, compression=None)
                connection.recv()
            connection.send(bad_frame(rng, good))
            answer = connection.recv(timeout=10)
        except (ConnectionClosed, TimeoutError) as error:
            answers["closed" if isinstance(error, ConnectionClosed) else "no answer in 10 s"] += 1
            connection = None
            continue
        line = isinstance(answer, str)
        answers["one line" if line and "\n" not in answer else "text of several lines" if line else "chunk"] += 1
        answers["traceback"] += line and "Traceback" in answer
    return answers


def fuzz(args: argparse.Namespace) -> None:
    with served(ConstantPolicy(1, 8)) as (address, process):
        memory, answers, part = {}, Counter[str](), args.requests // 10
        with ThreadPoolExecutor(4) as pool:
            for tenth in range(1, 11):
                seeds = [4 * (10 * args.seed + tenth) + client for client in range(4)]
                answers.update(sum(pool.map(partial(attack, address, part // 4), seeds), Counter()))
                memory[str(tenth * part)] = round(process.memory_info().rss / 2**20, 1)
        client = RemotePolicy(address)
        go_on(client, client.reset("go"), 10)  # raises where the server does not live on
    store(NAME, {"kind": "fuzz", "seed": args.seed, "answers": dict(answers), "rss_mb": memory})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=("overhead", "batching", "soak", "fuzz"))
    parser.add_argument("--images", nargs="+", default=["2x96", "3x256"])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--stalled", type=int, nargs="+", default=[0, 100])
    parser.add_argument("--requests", type=int, default=None)
    parser.add_argument("--drops", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policy", default="nano-tabletop")
    args = parser.parse_args()
    args.requests = args.requests or {"overhead": 2000, "batching": 20, "soak": 10**6, "fuzz": 10**6}[args.kind]
    {"overhead": overhead, "batching": batching, "soak": soak, "fuzz": fuzz}[args.kind](args)


if __name__ == "__main__":
    main()
