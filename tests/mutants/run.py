"""Mutation test of the core: applies each fault in mutants.toml to a copy of the package and runs the tests it names.

    python tests/mutants/run.py [ID ..] [--workers N]

Prints killed or survived per mutant, and the rate. The exit status is 1 below `MIN_KILLED`, for a survivor without an
explanation, and for a mutant whose tests do not run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Literal

ROOT = Path(__file__).parents[2]
MIN_KILLED = 0.95
TIMEOUT = 300.0
"""Seconds after which tests of a mutant count as failed, because it may loop for ever; longer where the tests of all
mutants take longer without any."""
TESTS_FAILED, TIMED_OUT = 1, -1
"""Exit statuses that kill a mutant: pytest's for failed tests, and ours."""
Verdict = Literal["killed", "survived", "invalid"]


@dataclass(frozen=True)
class Mutant:
    """A fault: `old`, which occurs once in the package, becomes `new`.

    tests: test files that have to notice it. survives: why no test can; empty for a mutant that is to be killed.
    """

    id: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]
    survives: str = ""

    def locate(self, sources: Mapping[Path, str]) -> Path:
        """The file with the text to change. ValueError when that is not exactly one text of the package."""
        files = [file for file, text in sources.items() for _ in range(text.count(self.old))]
        if len(files) != 1:
            found = f" ({', '.join(map(str, files))})" if files else ""
            raise ValueError(
                f"mutant {self.id} no longer applies: {self.old!r} occurs {len(files)} times in the package{found}; "
                "update it in tests/mutants/mutants.toml"
            )
        return files[0]


@dataclass(frozen=True)
class Outcome:
    """Result of a mutant's tests; output is the end of what pytest printed."""

    mutant: Mutant
    verdict: Verdict
    seconds: float
    output: str


def load_mutants() -> list[Mutant]:
    """The mutants of mutants.toml: a table per mutant, named by its id."""
    tables = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text(encoding="utf-8"))
    return [Mutant(id=name, **{**table, "tests": tuple(table["tests"])}) for name, table in tables.items()]


def read_sources() -> dict[Path, str]:
    """The Python files of the package, by their paths below `src`."""
    files = sorted((ROOT / "src" / "wla").rglob("*.py"))
    return {file.relative_to(ROOT / "src"): file.read_text(encoding="utf-8") for file in files}


class SourceCopy:
    """A copy of `src` in which one mutant at a time is applied. Large bundled files are linked."""

    def __init__(self, folder: Path, sources: Mapping[Path, str]) -> None:
        self._sources = sources
        self.source = folder / "src"
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "bundled")
        shutil.copytree(ROOT / "src", self.source, ignore=ignore)
        (self.source / "wla" / "bundled").symlink_to(ROOT / "src" / "wla" / "bundled")

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        file = mutant.locate(self._sources)
        path, original = self.source / file, self._sources[file]
        self._write(path, original.replace(mutant.old, mutant.new))
        try:
            yield
        finally:
            self._write(path, original)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        # Compiled files are recognised by seconds and size, which a mutant may share with the original.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()

    def run_tests(self, tests: Sequence[str], timeout: float | None = None) -> tuple[int, str]:
        """Exit status of pytest, and the end of its output. timeout: seconds after which it is `TIMED_OUT`."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self.source), "OMP_NUM_THREADS": "1"}
        try:
            process = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            return TIMED_OUT, f"no result within {timeout:.0f} s"
        return process.returncode, "\n".join((process.stdout + process.stderr).strip().splitlines()[-15:])

    def verdict(self, mutant: Mutant, timeout: float) -> Outcome:
        """Applies the mutant and runs its tests."""
        start = time.monotonic()
        with self.mutated(mutant):
            status, output = self.run_tests(mutant.tests, timeout)
        verdict: Verdict = "killed" if status in (TESTS_FAILED, TIMED_OUT) else "survived" if status == 0 else "invalid"
        return Outcome(mutant, verdict, time.monotonic() - start, output)


def summary(outcomes: Sequence[Outcome]) -> tuple[str, bool]:
    """The report's last lines, and whether the run passes."""
    killed = [outcome for outcome in outcomes if outcome.verdict == "killed"]
    explained = [o for o in outcomes if o.verdict == "survived" and o.mutant.survives]
    unexplained = [o for o in outcomes if o.verdict == "survived" and not o.mutant.survives]
    invalid = [outcome for outcome in outcomes if outcome.verdict == "invalid"]
    rate = len(killed) / len(outcomes)
    lines = [f"survives, explained: {o.mutant.id}: {o.mutant.survives}" for o in explained]
    lines += [f"SURVIVED: {o.mutant.id}: {o.mutant.why}; write the missing test" for o in unexplained]
    lines += [f"INVALID: {o.mutant.id}: its tests do not run:\n{o.output}" for o in invalid]
    lines.append(f"{len(killed)} of {len(outcomes)} mutants killed ({100 * rate:.0f} %)")
    return "\n".join(lines), rate >= MIN_KILLED and not unexplained and not invalid


def run(mutants: Sequence[Mutant], sources: Mapping[Path, str], workers: int) -> bool:
    """Runs all mutants, after their tests on the unchanged package; returns whether the run passes."""
    start = time.monotonic()
    with TemporaryDirectory() as folder:
        copies: SimpleQueue[SourceCopy] = SimpleQueue()
        for number in range(workers):
            copies.put(SourceCopy(Path(folder) / str(number), sources))

        def unchanged(tests: Sequence[str]) -> tuple[int, str]:
            copy = copies.get()
            try:
                return copy.run_tests(tests)
            finally:
                copies.put(copy)

        def verdict(mutant: Mutant) -> Outcome:
            copy = copies.get()
            try:
                outcome = copy.verdict(mutant, timeout)
            finally:
                copies.put(copy)
            print(f"{outcome.verdict:9} {outcome.seconds:5.1f} s  {mutant.id}", flush=True)
            return outcome

        files = sorted({test for mutant in mutants for test in mutant.tests})
        with ThreadPoolExecutor(workers) as pool:
            for status, output in pool.map(unchanged, [files[i::workers] for i in range(min(workers, len(files)))]):
                if status != 0:
                    print(f"{output}\nthe tests fail without any mutant; repair them first")
                    return False
            unmutated = time.monotonic() - start
            timeout = max(TIMEOUT, unmutated)
            print(f"{len(files)} test files pass without mutants, {unmutated:.0f} s", flush=True)
            outcomes = list(pool.map(verdict, mutants))
    text, passed = summary(outcomes)
    print(f"{text} in {time.monotonic() - start:.0f} s")
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation test of the core.")
    parser.add_argument("ids", nargs="*", help="only these mutants")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at once")
    arguments = parser.parse_args()
    mutants = load_mutants()
    if unknown := set(arguments.ids) - {mutant.id for mutant in mutants}:
        parser.error(f"no mutant {min(unknown)} in tests/mutants/mutants.toml")
    chosen = [mutant for mutant in mutants if not arguments.ids or mutant.id in arguments.ids]
    sources = read_sources()
    try:
        for mutant in chosen:
            mutant.locate(sources)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if run(chosen, sources, arguments.workers) else 1


if __name__ == "__main__":
    sys.exit(main())
