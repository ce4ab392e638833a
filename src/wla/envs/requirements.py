"""Packages that an environment family needs beside this one: present, in the version whose scores are comparable."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement


def unmet_requirement(requirements: Iterable[str]) -> str | None:
    """What is missing, in words ("mujoco==3.3.0, and 3.17.0 is installed"); None where nothing is.

    requirements: as in pyproject.toml, `metaworld==3.1.1`. What these packages require themselves counts, because
    scores and images change with the simulator that they pin.
    """
    for line in requirements:
        needed = Requirement(line)
        problem = _problem(needed)
        if problem is None:
            required = map(Requirement, metadata.requires(needed.name) or ())
            own = (each for each in required if each.marker is None or each.marker.evaluate({"extra": ""}))
            problem = next(filter(None, map(_problem, own)), None)
        if problem is not None:
            return problem
    return None


def installed_versions(*names: str) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    return {name: version for name in names if (version := _version(name)) is not None}


def _problem(needed: Requirement) -> str | None:
    version, name = _version(needed.name), f"{needed.name}{needed.specifier}"
    if version is None:
        return f"{name}, which is not installed"
    return None if needed.specifier.contains(version, prereleases=True) else f"{name}, and {version} is installed"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
