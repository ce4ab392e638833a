"""Finds and runs the marked code blocks of a Markdown file.

An HTML comment right before a block says what happens to it:

* ``test``: the block is run. Each further line, ``text of the document => tested text``, makes it smaller for the test;
  text that the block does not have is an error.
* ``file: NAME``: the block becomes a file of the folder that the document's blocks run in.
* ``needs: WHAT``: the block is not run, because it needs a GPU, a hub, ...

    <!-- test
    --episodes 200 => --episodes 2
    -->
    ```sh
    wla collect place --episodes 200
    ```
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>test|file:|needs:)(?P<rest>(?:(?!-->).)*)-->\n+)?"
    r"```(?P<language>sh|python|toml)\n(?P<code>.*?)^```",
    re.DOTALL | re.MULTILINE,
)
Mark = Literal["test", "file", "needs", ""]


@dataclass(frozen=True)
class CodeBlock:
    """A block of a document.

    language: sh, python or toml. code: as it is run, with the changes of its comment made. mark: "" where it has none.
    argument: the name of the file, or what is needed.
    """

    language: str
    code: str
    mark: Mark = "test"
    argument: str = ""

    def run(self, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run in `folder` with this interpreter's commands first on the path; output holds stderr too.

        Packages that an earlier block installed into the folder `site` are found.
        """
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        modules = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        commands = {"sh": ["bash", "-euo", "pipefail", "-c", self.code], "python": [sys.executable, "-c", self.code]}
        return subprocess.run(
            commands[self.language],
            cwd=folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(modules)},
            timeout=seconds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def blocks_of(markdown: str) -> list[CodeBlock]:
    """All blocks of shell, Python and TOML in order. ValueError for a change that its block does not have."""
    found = []
    for match in BLOCK.finditer(markdown):
        mark, rest, code = (match["mark"] or "").rstrip(":"), (match["rest"] or "").strip(), match["code"]
        code = changed(code, rest) if mark == "test" else code
        found.append(CodeBlock(match["language"], code, cast(Mark, mark), "" if mark == "test" else rest))
    return found


def run_blocks(markdown: str, folder: Path, seconds: float) -> int:
    """Writes the files of a document, runs its marked blocks in order, and returns how many ran.

    AssertionError with the block and its output where one fails.
    """
    ran = 0
    for block in blocks_of(markdown):
        if block.mark == "file":
            file = folder / block.argument
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code, "utf-8")
        elif block.mark == "test":
            done = block.run(folder, seconds)
            assert done.returncode == 0, f"{block.code}\n{done.stdout}"
            ran += 1
    return ran


def changed(code: str, changes: str) -> str:
    for line in filter(None, map(str.strip, changes.splitlines())):
        before, arrow, after = line.partition(" => ")
        if not arrow or before not in code:
            raise ValueError(f"the change {line!r} does not fit its block:\n{code}")
        code = code.replace(before, after)
    return code
