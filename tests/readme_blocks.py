"""Finds and runs the marked code blocks of a Markdown file.

A block is run when an HTML comment that starts with ``test`` stands right before it. Each further line of the comment,
``README text => tested text``, makes the block smaller for the test; text that the block does not have is an error:

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

BLOCK = re.compile(
    r"<!-- test\b(?P<changes>.*?)-->\s*```(?P<language>\w+)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class CodeBlock:
    """language: sh or python. code: as it is run, with the changes of its comment made."""

    language: str
    code: str

    def run(self, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run in `folder` with this interpreter's commands first on the path; output holds stderr too."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        commands = {"sh": ["bash", "-euo", "pipefail", "-c", self.code], "python": [sys.executable, "-c", self.code]}
        return subprocess.run(
            commands[self.language],
            cwd=folder,
            env={**os.environ, "PATH": path},
            timeout=seconds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def marked_blocks(markdown: str) -> list[CodeBlock]:
    """The marked blocks in order. ValueError for a change that its block does not have."""
    return [CodeBlock(m["language"], changed(m["code"], m["changes"])) for m in BLOCK.finditer(markdown)]


def changed(code: str, changes: str) -> str:
    for line in filter(None, map(str.strip, changes.splitlines())):
        before, arrow, after = line.partition(" => ")
        if not arrow or before not in code:
            raise ValueError(f"the change {line!r} does not fit its block:\n{code}")
        code = code.replace(before, after)
    return code
