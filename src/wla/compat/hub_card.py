"""Cards (README.md) of what is shared on the hub: license, and results of an evaluation."""

from __future__ import annotations

import re
from pathlib import Path

from wla.compat.hub_files import CARD, SharedFolder
from wla.data.lerobot.format import read_info
from wla.evaluation.recorded_run import RecordedRun, read_recorded
from wla.files import read_text
from wla.intervals import rate_interval

BEGIN, END = "<!-- wla: evaluation -->", "<!-- wla: end of evaluation -->"
"""Around the results, which those of a later evaluation replace."""
NO_LICENSE = "* A license is not part of a checkpoint"
NO_RESULTS = "* Its success rate is not part of a checkpoint"
"""Beginnings of the limits in a checkpoint's own card that no longer hold once it has a license, or results."""


def card_of(shared: SharedFolder, license_id: str | None, results: Path | None) -> str:
    """Returns the card: the folder's own one, or a new one, with a license and results.

    license_id: as the hub names it (apache-2.0, other ..); None leaves the field as it is. results: the
    `summary.json` of an evaluation. ValueError for results of another checkpoint, or a front matter that is not YAML.
    """
    from huggingface_hub import RepoCard

    path = shared.root / CARD
    text = read_text(path, "card") if path.is_file() else _new_text(shared)
    if not text.startswith("---"):
        text = f"{_front_matter(shared)}\n{text}"
    if results is not None:
        text = _with_results(_without(text, NO_RESULTS), _results(shared, results))
    if license_id is not None:
        text = _without(text, NO_LICENSE)
    try:
        card = RepoCard(text, ignore_metadata_errors=False)
    except Exception as error:  # whatever the library and its YAML parser raise about somebody's text
        raise ValueError(f"{path}: its front matter cannot be read ({type(error).__name__}); correct it") from error
    if license_id is not None:
        card.data["license"] = license_id
    return str(card)


def license_of(card: str) -> str | None:
    """Returns the license that a card states; None where it states none."""
    front = re.match(r"---\r?\n(.*?)\r?\n---", card, re.DOTALL)
    found = re.search(r"^license:\s*(\S.*)$", front[1], re.MULTILINE) if front else None
    return found[1].strip().strip("'\"") if found else None


def _front_matter(shared: SharedFolder) -> str:
    tags = ["robotics", "wla", *(["LeRobot"] if shared.kind == "dataset" else [])]
    front = ["---", "tags:", *(f"- {tag}" for tag in tags)]
    if shared.kind == "dataset":
        front += ["task_categories:", "- robotics"]
        front += ["configs:", "- config_name: default", "  data_files: data/*/*.parquet"]
    else:
        front.append("library_name: wla")
    return "\n".join([*front, "---"])


def _new_text(shared: SharedFolder) -> str:
    if shared.kind == "dataset":
        episodes = read_info(shared.root).total_episodes
        about = f"{episodes} episodes in the LeRobot v3.0 format; `meta/info.json` describes their columns."
    else:
        about = "Written by `wla train`; the README of wla says what it is for."
    return f"# {shared.what[0].upper()}{shared.what[1:]}\n\n{about}\n"


def _results(shared: SharedFolder, results: Path) -> str:
    recorded = read_recorded(results)
    if shared.what == "policy":
        from wla.policy.checkpoint_files import sha256

        found = sha256(shared.root)
        if found != recorded.checkpoint_sha256:
            raise ValueError(
                f"{results}: is of a checkpoint with sha256 {str(recorded.checkpoint_sha256)[:12]}, and {shared.root} "
                f"has {found[:12]}; evaluate this one"
            )
    else:
        raise ValueError(f"--results: is for policies, and {shared.root} is a {shared.what}; leave it out")
    return _table(recorded)


def _table(recorded: RecordedRun) -> str:
    rows = ["| task | setting | success, % | exact 95 % interval | episodes | seeds |", "|---|---|---|---|---|---|"]
    for case in recorded.cases:
        outcomes = [episode.outcome for episode in case.episodes.values() if episode.outcome != "error"]
        if outcomes:
            rate = rate_interval(outcomes.count("success"), len(outcomes))
            cells = (case.task, case.setting, f"{100 * rate.estimate:.1f}", rate.bounds(), str(len(outcomes)))
            rows.append(f"| {' | '.join(cells)} | {min(case.episodes)} to {max(case.episodes)} |")
    protocols = sorted({case.protocol for case in recorded.cases})
    versions = {f"{name} {value}" for each in recorded.versions for name, value in each.items() if name in VERSIONS}
    return "\n".join(
        [
            BEGIN,
            "## Evaluation",
            "",
            *rows,
            "",
            f"Environment `{recorded.cases[0].env}`, protocol {', '.join(protocols)}; {', '.join(sorted(versions))}. "
            f"Command: `{recorded.reproduction.command}`.",
            END,
        ]
    )


VERSIONS = frozenset({"wla", "torch", "mujoco", "gymnasium"})


def _with_results(text: str, results: str) -> str:
    if BEGIN in text and END in text:
        before, after = text.split(BEGIN, 1)[0], text.split(END, 1)[1]
        return before + results + after
    return f"{text.rstrip()}\n\n{results}\n"


def _without(text: str, beginning: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(beginning))
