"""`wla init --env NAME` and `--robot NAME`: a package with an environment family and a robot to go on with."""

from __future__ import annotations

from pathlib import Path

from wla.files import disk_errors
from wla.presets.new_package import NewPackage


def init_package(env: str | None, robot: str | None, out: Path) -> int:
    """Writes the folder of a package. ValueError for names that are taken or cannot be ones."""
    if out.suffix:
        raise ValueError(f"{out}: a new package is a folder; leave out {out.suffix!r}")
    package = NewPackage(out.resolve().name.replace("-", "_"), robot or f"{env}_robot", env)
    with disk_errors(out, "choose another --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        package.write(out)
    print("\n".join(_summary(package, out)))
    return 0


def _summary(package: NewPackage, out: Path) -> list[str]:
    source = out / package.module
    return [
        f"robot:       {package.robot} ({source / 'robot.py'})",
        *([f"environment: {package.env} ({source / 'env.py'})"] if package.env else []),
        f"names:       {out / 'pyproject.toml'}",
        f"found after `pip install -e {out}`, or with {out} on PYTHONPATH",
    ]
