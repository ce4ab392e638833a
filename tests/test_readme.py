"""What README and the documents say is tried: commands run, targets and links exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from readme_blocks import marked_blocks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK_SECONDS = 600


@pytest.mark.slow
def test_the_marked_blocks_of_the_readme_run(tmp_path: Path) -> None:
    # One test and one folder: a block may use what an earlier one made.
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/parity").symlink_to(ROOT / "tests/parity")
    blocks = marked_blocks(README)
    assert blocks, "the README marks no block for testing"
    for block in blocks:
        done = block.run(tmp_path, BLOCK_SECONDS)
        assert done.returncode == 0, f"{block.code}\n{done.stdout}"


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    mentioned = {name for file in DOCUMENTS for name in re.findall(r"\bmake ([a-z]+)\b[`\n]", file.read_text("utf-8"))}
    assert {"demo", "test", "check"} <= mentioned <= targets


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", file.read_text("utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_marked_blocks_are_found_with_their_changes_made() -> None:
    first = "<!-- test\n-n 9 => -n 1\n-->\n```sh\nrun -n 9\n```\n"
    markdown = f"{first}text\n```sh\nnot marked\n```\n<!-- test -->\n```python\n1\n```\n"
    assert [(block.language, block.code) for block in marked_blocks(markdown)] == [
        ("sh", "run -n 1\n"),
        ("python", "1\n"),
    ]


def test_a_change_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        marked_blocks("<!-- test\n-n 8 => -n 1\n-->\n```sh\nrun -n 9\n```\n")


def test_a_block_stops_at_its_first_failing_command(tmp_path: Path) -> None:
    (block,) = marked_blocks("<!-- test -->\n```sh\necho one > one\nfalse\necho two > two\n```\n")
    assert block.run(tmp_path, 10).returncode == 1
    assert [file.name for file in tmp_path.iterdir()] == ["one"]
