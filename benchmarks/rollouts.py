"""Episodes a minute, CPU time and memory of an evaluation, by the number of environments around one policy.

python benchmarks/rollouts.py [--envs 1 2 4 8 16] [--threads 1 2] [--episodes 48] [--policy nano-tabletop] [--fast]
python benchmarks/rollouts.py --envs 16 --fast --before CHECKOUT        beside an older version with two workers

Every figure is of a `wla eval` of its own: episodes a minute and CPU time of an episode between a quarter of the
episodes and the last one (the start and the first batch, which many environments begin at once, do not count), and the
largest memory of all its processes together (PSS: a page that several processes share counts once). CPU time tells
versions apart on a busy machine, too.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from wla.bench.stored import store

TASKS = ("place", "push", "press")


def descendants(root: int) -> list[int]:
    """The process and everything that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            children.setdefault(int(status.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def cpu_s(root: int) -> float:
    """CPU time of a process tree so far."""
    total = 0
    for process in descendants(root):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def memory_mb(root: int) -> float:
    """PSS of a process tree in MB."""
    total = 0
    for process in descendants(root):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])
    return total / 1024


def measure(command: list[str], out: Path, environment: dict[str, str]) -> dict[str, float]:
    """Episodes a minute and memory of a command that writes out/results.jsonl."""
    process = subprocess.Popen(
        [*command, "--out", str(out)], env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    began, lines, times, memory = time.perf_counter(), out / "results.jsonl", {}, 0.0
    while process.poll() is None:
        count = lines.read_text("utf-8").count("\n") if lines.exists() else 0
        if count and count not in times:
            times[count] = (time.perf_counter(), cpu_s(process.pid))
            memory = max(memory, memory_mb(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(process.stderr.read().decode())
    last = max(times)
    first = min(count for count in times if count >= last / 4)
    wall, cpu = (end - start for start, end in zip(times[first], times[last], strict=True))
    return {
        "episodes_per_minute": round(60 * (last - first) / wall, 1),
        "cpu_s_per_episode": round(cpu / (last - first), 3),
        "seconds_with_start": round(time.perf_counter() - began, 1),
        "memory_mb": round(memory),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--policy", default="nano-tabletop")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--fast", action="store_true", help="act with compiled code")
    parser.add_argument("--before", type=Path, help="checkout of a version with `wla eval --workers`")
    args = parser.parse_args()
    command = [sys.executable, "-m", "wla", "eval", args.policy, "--tasks", *args.tasks, "--max-videos", "0"]
    command += ["--episodes", str(args.episodes // len(args.tasks))]
    rows = []

    def add(name: dict[str, object], options: list[str], environment: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            rows.append({**name, **measure([*command, *options], Path(folder) / "out", environment)})
        print(rows[-1], flush=True)

    for threads in args.threads:
        if args.before:
            source = str(args.before / "src")
            add({"before": "two workers"}, ["--workers", "2"], {"OMP_NUM_THREADS": "1", "PYTHONPATH": source})
        for envs in args.envs:
            options = ["--num-envs", str(envs), *(["--fast"] if args.fast else [])]
            name = {"num_envs": envs, "torch_threads": threads, "fast": args.fast}
            add(name, options, {"OMP_NUM_THREADS": str(threads)})
    store("rollouts", {"policy": args.policy, "tasks": args.tasks, "episodes": args.episodes, "runs": rows})


if __name__ == "__main__":
    main()
