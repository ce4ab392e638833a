"""What README and the documents say is tried: commands run, targets and links exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from readme_blocks import blocks_of, run_blocks

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TAUGHT = [ROOT / "README.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
"""Documents whose every command is tried."""
NOT_RUN = [
    ("README.md", "docker"),
    ("benchmarks.md", "metaworld"),  # in tests/envs/test_metaworld_simulator.py
    ("benchmarks.md", "libero"),  # in tests/envs/test_libero_simulator.py
    *[("cluster.md", "cluster")] * 2,  # in tests/rollout/test_ray_engine.py
    *[("lerobot.md", "lerobot")] * 4,  # in tests/plugins, with an environment of LeRobot
    *[("paradigms.md", "datasets")] * 2,  # of nano_tabletop; the recipes are tried in tests/models and tests/recipes
    ("published.md", "gpu"),
    ("real_robot.md", "robot"),
    ("sharing.md", "hub"),
    ("speed.md", "a processor that multiplies in bfloat16"),  # in tests/policy/test_fast.py
]
"""Blocks that are not run, and why."""
RUNNABLE = [file for file in TAUGHT if any(block.mark != "needs" for block in blocks_of(file.read_text("utf-8")))]
BLOCK_SECONDS = 600


@pytest.mark.slow
@pytest.mark.parametrize("file", RUNNABLE, ids=lambda file: file.name)
def test_the_blocks_of_a_document_run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One folder for all of its blocks: one may use what an earlier one made.
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/parity").symlink_to(ROOT / "tests/parity")
    # A copy of the tracked files, for what is run in a clone: nothing is installed or built in this one.
    checkout = tmp_path.parent / f"{tmp_path.name}_checkout"
    subprocess.run(["git", "-C", ROOT, "checkout-index", "--all", f"--prefix={checkout}/"], check=True)
    monkeypatch.setenv("CHECKOUT", str(checkout))
    assert run_blocks(file.read_text("utf-8"), tmp_path, BLOCK_SECONDS)


def test_every_block_is_run_or_says_what_it_needs() -> None:
    blocks = [(file.name, block) for file in TAUGHT for block in blocks_of(file.read_text("utf-8"))]
    assert [(name, block.code) for name, block in blocks if not block.mark] == []
    needs = [(name, block.argument) for name, block in blocks if block.mark == "needs"]
    assert needs == NOT_RUN


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    mentioned = {name for file in DOCUMENTS for name in re.findall(r"\bmake ([a-z]+)\b[`\n]", file.read_text("utf-8"))}
    assert {"demo", "test", "check"} <= mentioned <= targets


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", file.read_text("utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_blocks_are_found_with_their_marks_and_changes() -> None:
    first = "<!-- test\n-n 9 => -n 1\n-->\n```sh\nrun -n 9\n```\n"
    second = "<!-- file: a/b.py -->\n```python\n1\n```\n<!-- needs: gpu -->\n```sh\nfast\n```\n"
    blocks = blocks_of(f"{first}text\n```sh\nnot marked\n```\n{second}")
    assert [(block.language, block.code, block.mark, block.argument) for block in blocks] == [
        ("sh", "run -n 1\n", "test", ""),
        ("sh", "not marked\n", "", ""),
        ("python", "1\n", "file", "a/b.py"),
        ("sh", "fast\n", "needs", "gpu"),
    ]


def test_a_change_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        blocks_of("<!-- test\n-n 8 => -n 1\n-->\n```sh\nrun -n 9\n```\n")


def test_files_are_written_and_blocks_run_in_order(tmp_path: Path) -> None:
    text = "<!-- file: say.py -->\n```python\nprint(1)\n```\n<!-- test -->\n```sh\npython say.py > said\n```\n"
    assert run_blocks(text, tmp_path, 30) == 1
    assert (tmp_path / "said").read_text() == "1\n"


def test_a_block_stops_at_its_first_failing_command(tmp_path: Path) -> None:
    (block,) = blocks_of("<!-- test -->\n```sh\necho one > one\nfalse\necho two > two\n```\n")
    assert block.run(tmp_path, 10).returncode == 1
    assert [file.name for file in tmp_path.iterdir()] == ["one"]
