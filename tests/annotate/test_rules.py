"""Subtask labels from rules over gripper and tool motion."""

from __future__ import annotations

from pathlib import Path

import pytest
from motions import CARRY, DOWN, PICK, RELEASE, SIDE, UP, WAIT, gantry, write

from wla.annotate.rules import label, read_templates
from wla.data.lerobot.reader import LeRobotDataset
from wla.envs.tabletop.tasks import load_task

SMALL = """
[[task]]
name = "lift"
instruction = ['lift the (?P<what>\\w+)']
phases = [
  { name = "reach", subtask = "reach the {what}" },
  { name = "grasp", subtask = "{what} greifen, 抓", when = ["closed", "not rising"] },
]
"""


def labels(root: Path, *recordings, spec=None, templates=None) -> list[list[tuple[str, int, int]]]:
    """Returns (text, first, last) of the segments of each episode."""
    dataset = LeRobotDataset(write(root / "d", recordings, spec))
    segments = label(dataset, read_templates(templates))
    return [[(s.text, s.first, s.last) for s in segments if s.episode == e.index] for e in dataset.episodes]


def test_place(tmp_path):
    (episode,) = labels(tmp_path, ("put the red block in the bowl", [*PICK, *CARRY, *RELEASE]))
    assert episode == [
        ("reach the red block", 0, 4),
        ("grasp the red block", 5, 5),
        ("move to the bowl", 6, 12),
        ("release the red block", 13, 15),
    ]


def test_a_failed_grasp_is_followed_by_another_reach(tmp_path):
    (episode,) = labels(
        tmp_path, ("put the red block in the bowl", [*PICK, (*UP, -1), (*DOWN, -1), (*WAIT, 1), *CARRY, *RELEASE])
    )
    assert [text.split()[0] for text, *_ in episode] == ["reach", "grasp", "reach", "grasp", "move", "release"]


def test_two_blocks_in_both_phrasings_of_the_order(tmp_path):
    once = [*PICK, *CARRY, *RELEASE]
    instructions = (
        "put the a block in the bowl, then the b block on the plate",
        "put the b block on the plate after the a block is in the bowl",
    )
    for number, instruction in enumerate(instructions):
        (episode,) = labels(tmp_path / str(number), (instruction, [*once, *once]))
        assert [text for text, *_ in episode] == [
            "reach the a block",
            "grasp the a block",
            "move to the bowl",
            "release the a block",
            "reach the b block",
            "grasp the b block",
            "move to the plate",
            "release the b block",
        ]


def test_press_and_push(tmp_path):
    press = [*[(*SIDE, 1)] * 3, *[(*DOWN, 1)] * 2, *[(*WAIT, 1)] * 2]
    push = [*[(*SIDE, 1)] * 3, *[(*DOWN, 1)] * 3, *[(*SIDE, 1)] * 3, *[(*UP, 1)] * 2]
    episodes = labels(tmp_path, ("press the button", press), ("slide the blue block to the left", push))
    assert episodes[0] == [("reach the button", 0, 2), ("press the button", 3, 6)]
    assert episodes[1] == [("reach the blue block", 0, 5), ("push the blue block to the left zone", 6, 10)]


def test_custom_templates(tmp_path):
    (tmp_path / "t.toml").write_text(SMALL, encoding="utf-8")
    (episode,) = labels(tmp_path, ("Lift the cup", [*PICK, (*UP, 1)]), templates=tmp_path / "t.toml")
    assert episode == [("reach the cup", 0, 4), ("cup greifen, 抓", 5, 6)]


def test_a_gripper_with_the_opposite_sign(tmp_path):
    steps = [(*move, -grip) for *move, grip in [*PICK, *CARRY, *RELEASE]]
    (episode,) = labels(tmp_path, ("put the red block in the bowl", steps), spec=gantry(gripper="-1 closed .. 1 open"))
    assert ("grasp the red block", 5, 5) in episode


def test_every_phrasing_of_the_short_tasks_finds_its_template():
    templates = read_templates()
    for name in ("place", "stack", "push", "press", "drawer", "place_two"):
        phrasings = load_task(name).phrasings
        values = {"colour": "red", "a": "red", "b": "blue", "side": "left"}
        for text in (*phrasings.train, *phrasings.test):
            match = templates.find(text.format(**values))
            assert match is not None
            template, groups = match
            assert template.name == name
            assert groups.items() <= {"a": "red", "b": "blue", "side": "left"}.items()


def test_existing_labels_are_not_used(tmp_path):
    dataset = LeRobotDataset(write(tmp_path / "d", [("press the button", [*PICK, *CARRY])]))
    before = label(dataset, read_templates())
    dataset.subtasks, dataset.subtask_texts = None, ("nonsense",)
    assert label(dataset, read_templates()) == before


def test_an_instruction_without_a_matching_template_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no template matches 'dance' \(episode 1; 1 episodes have none\); add one"):
        labels(tmp_path, ("press the button", PICK), ("dance", PICK))


def test_a_robot_without_the_required_state_is_an_error(tmp_path):
    spec = gantry(state_names=("x", "y"))
    with pytest.raises(
        ValueError,
        match=r"'press' needs the condition 'along' \(the tool moves sideways\), .*does not have x, y and z",
    ):
        labels(tmp_path, ("press the button", PICK), spec=spec)


def test_a_gripper_with_an_unclear_description_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="does not define which end is closed; write it like"):
        labels(tmp_path, ("put the red block in the bowl", PICK), spec=gantry(gripper="0 .. 1"))


def test_a_dataset_without_a_robot_spec_is_an_error(tmp_path):
    write(tmp_path / "d", [("press the button", PICK)])
    (tmp_path / "d/meta/wla_robot.json").unlink()
    with pytest.raises(ValueError, match="is missing, so that nothing states what the numbers mean"):
        label(LeRobotDataset(tmp_path / "d"), read_templates())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[[task]]", "[[task", "damaged TOML"),
        ('name = "lift"', "nam = 1", r"task\.0\."),
        ("(?P<what>", "(?P<what", "is not a regular expression"),
        ("{what} greifen", "{who} greifen", "needs 'who'"),
        ('"closed"', '"shut"', "unknown condition 'shut'; known are closed, open"),
        (', when = ["closed", "not rising"]', "", "all others need one"),
        ("] },\n]", '], retry = { when = ["open"], to = "begin" } },\n]', "retry to unknown phase 'begin'"),
        ('name = "grasp"', 'name = "reach"', "two phases are named 'reach'"),
    ],
)
def test_an_invalid_template_file_is_an_error(tmp_path, before, after, message):
    assert before in SMALL
    (tmp_path / "t.toml").write_text(SMALL.replace(before, after), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_templates(tmp_path / "t.toml")
    assert "t.toml" in str(caught.value)


def test_an_absent_template_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no such template file"):
        read_templates(tmp_path / "t.toml")
