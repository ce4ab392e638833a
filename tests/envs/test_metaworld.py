from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from wla.cli.list_names import ListArgs, list_names
from wla.envs.metaworld.family import FAMILY
from wla.envs.metaworld.instructions import INSTRUCTIONS
from wla.envs.registry import load_family, make_env
from wla.envs.requirements import unmet_requirement
from wla.envs.seeds import require_seeds

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def vocabulary(templates: tuple[str, ...]) -> set[str]:
    return {word for template in templates for word in re.findall("[a-z]+", template)}


def test_groups_are_the_published_ones() -> None:
    sizes = {name: len(FAMILY.select_tasks([name])) for name in FAMILY.groups}
    assert sizes == {"mt10": 10, "mt50": 50, "easy": 28, "medium": 11, "hard": 6, "very_hard": 5}
    by_difficulty = FAMILY.select_tasks(["easy", "medium", "hard", "very_hard"])
    assert sorted(by_difficulty) == sorted(FAMILY.tasks)
    assert len(FAMILY.select_tasks(["mt10", "reach-v3", "hard"])) == 10 + 6 - len({"push-v3", "pick-place-v3"})


def test_mistyped_names_are_one_line_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="metaworld has no task 'reach-v2'; did you mean 'reach-v3'"):
        load_family("metaworld").select_tasks(["reach-v2"])
    with pytest.raises(ValueError, match="metaworld has no task 'mt01'; did you mean 'mt"):
        load_family("metaworld").select_tasks(["mt01"])


def test_evaluation_seeds_are_a_block_of_their_own() -> None:
    require_seeds([300_000, 309_999], "evaluation", FAMILY.seeds)
    for seed in (100_000, 310_000):
        with pytest.raises(ValueError, match=f"seed {seed} is not for evaluation: use seeds from 300000 to 309999"):
            require_seeds([seed], "evaluation", FAMILY.seeds)


@pytest.mark.parametrize("task", FAMILY.tasks)
def test_evaluation_words_a_task_anew_with_known_words(task: str) -> None:
    train, test = INSTRUCTIONS[task].train, INSTRUCTIONS[task].test
    assert vocabulary(test) <= vocabulary(train)
    assert not set(train) & set(test)
    assert len(set(train)) == len(train) >= 10
    assert len(set(test)) == len(test) >= 4


def test_no_instruction_means_two_tasks() -> None:
    texts = [text for each in INSTRUCTIONS.values() for text in (*each.train, *each.test)]
    assert len(texts) == len(set(texts))


def test_the_requirements_are_those_of_the_extra() -> None:
    extras = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(FAMILY.requirements) <= set(extras["metaworld"])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The distributions that seem to be installed, and their versions; metaworld pins mujoco."""
    versions: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: ["mujoco==3.3.0", "pytest>=4; extra == 'testing'"])
    return versions


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        (
            {"mujoco": "3.3.0"},
            r"metaworld needs metaworld==3\.1\.1, which is not installed; run pip install '",
        ),
        ({"mujoco": "3.3.0", "metaworld": "3.0.0"}, r"needs metaworld==3\.1\.1, and 3\.0\.0 is installed"),
        ({"mujoco": "3.17.0", "metaworld": "3.1.1"}, r"needs mujoco==3\.3\.0, and 3\.17\.0 is installed"),
        ({"metaworld": "3.1.1"}, r"needs mujoco==3\.3\.0, which is not installed"),
    ],
)
def test_a_missing_or_other_simulator_is_one_line(installed: dict, versions: dict, problem: str) -> None:
    installed |= versions
    with pytest.raises(ValueError, match=problem) as refused:
        make_env("metaworld", task="reach-v3")
    assert "\n" not in str(refused.value)


def test_the_right_versions_pass(installed: dict[str, str]) -> None:
    installed |= {"mujoco": "3.3.0", "metaworld": "3.1.1"}
    assert unmet_requirement(FAMILY.requirements) is None


def test_the_list_tells_what_is_missing(installed: dict, capsys: pytest.CaptureFixture[str]) -> None:
    installed |= {"mujoco": "3.17.0", "metaworld": "3.1.1"}
    list_names(ListArgs(kind="environments"))
    assert "50 tasks, on sawyer, sawyer_wrist; needs mujoco==3.3.0, and 3.17.0 is installed" in capsys.readouterr().out
