"""A small package with a robot and an environment of a user's own, which the commands find by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from wla.envs.registry import FAMILIES
from wla.files import atomic_dir
from wla.robots.registry import ROBOTS

TEMPLATES = Path(__file__).with_name("scaffold")
_NAME = re.compile(r"[A-Za-z]\w*(-\w+)*", re.ASCII)
_PYPROJECT = """\
# After a change of the names below: pip install -e . (again).

[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{project}"
version = "0.1"
dependencies = ["wla"]

# Names by which the commands of wla find what this package has: name = "module:NAME"
{entry_points}[tool.setuptools]
packages = ["{module}"]
"""


@dataclass(frozen=True)
class NewPackage:
    """The names in a new package. module: as it is imported. env: of its environment family; None for a robot alone."""

    module: str
    robot: str
    env: str | None

    def __post_init__(self) -> None:
        """ValueError for a name that cannot be one, or that is there already."""
        for what, name, known in (
            ("robot", self.robot, ROBOTS.names()),
            ("environment", self.env, FAMILIES.names()),
        ):
            if name is not None and not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a new {what}: letters, digits, _ and - make one")
            if name in known:
                raise ValueError(f"the {what} {name!r} exists already (see `wla list`); choose another name")
        if not self.module.isidentifier() or iskeyword(self.module):
            raise ValueError(f"{self.module!r} cannot be imported; give the folder another name (--out)")
        spec = find_spec(self.module)
        if spec is not None and spec.origin is not None:  # a folder without modules has none
            raise ValueError(f"the Python module {self.module!r} exists already; give the folder another name (--out)")

    @property
    def entry_points(self) -> Mapping[str, tuple[str, str]]:
        """Group -> name and value of its entry point."""
        found = {ROBOTS.group: (self.robot, f"{self.module}.robot:ROBOT")}
        return found if self.env is None else found | {FAMILIES.group: (self.env, f"{self.module}.env:FAMILY")}

    def files(self) -> dict[str, str]:
        """Path below the package's folder -> text.

        The metadata is what pip would write, so that the folder works from PYTHONPATH too.
        """
        project, metadata = self.module.replace("_", "-"), f"{self.module}.egg-info"
        robot, points = self._template("robot.py"), self.entry_points.items()
        groups = "".join(f'[project.entry-points."{group}"]\n{name} = "{value}"\n\n' for group, (name, value) in points)
        lines = [(group, f"{name} = {value}") for group, (name, value) in points]
        found = {
            "pyproject.toml": _PYPROJECT.format(project=project, module=self.module, entry_points=groups),
            f"{self.module}/__init__.py": f'"""What {project} adds to wla."""\n',
            f"{self.module}/robot.py": robot,
            f"{metadata}/PKG-INFO": f"Metadata-Version: 2.1\nName: {project}\nVersion: 0.1\n",
            f"{metadata}/entry_points.txt": "".join(f"[{group}]\n{line}\n" for group, line in lines),
        }
        return found if self.env is None else found | {f"{self.module}/env.py": self._template("env.py")}

    def write(self, folder: Path) -> None:
        """Writes the files into a new folder."""
        with atomic_dir(folder) as fresh:
            for name, text in self.files().items():
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_text(text, "utf-8")

    def _template(self, name: str) -> str:
        text = (TEMPLATES / name).read_text("utf-8").replace('"my_robot"', f'"{self.robot}"')
        return text.replace('"my_env"', f'"{self.env}"')
