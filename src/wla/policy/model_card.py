"""The README.md of a checkpoint: what the hub shows of it, made of nothing but what the checkpoint itself holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wla.models.wla import WLAConfig
from wla.specs import RobotSpec
from wla.types import ImageKey

README = "README.md"
MARKER = "<!-- Written by wla when this checkpoint was saved. Remove this line, and your own text survives saving. -->"
PARTS = {
    "backbone": ("backbone.",),
    "Action Expert": ("action_expert.",),
    "World Expert": ("world_expert.",),
    "image codec": ("codec.",),
}
"""Part of the model -> prefixes of its weights."""


@dataclass(frozen=True)
class ModelFacts:
    """What a card tells. parameters: part -> number of its weights; speaks: whether it says subtasks before acting."""

    model: WLAConfig
    robot: RobotSpec
    parameters: Mapping[str, int]
    predicts_subtasks: bool
    dtype: str
    trained_steps: int
    replan_steps: int | None
    action_noise: float


def count_parameters(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Numbers in the weights of each part."""
    return {
        part: sum(value.numel() for name, value in weights.items() if name.startswith(prefixes))
        for part, prefixes in PARTS.items()
    }


def keep_or_write(old: Path, new: Path, facts: ModelFacts) -> None:
    """Write the card to `new`, or copy `old` there if somebody wrote that: a card of ours carries `MARKER`."""
    text = old.read_bytes() if old.is_file() else MARKER.encode()
    new.write_bytes(text if MARKER.encode() not in text else model_card(facts).encode())


def model_card(facts: ModelFacts) -> str:
    """Markdown with the hub's front matter. There is no license in it: a checkpoint does not know its own."""
    robot, expert = facts.robot, facts.model.action_expert
    total = sum(facts.parameters.values())
    return "\n".join(
        [
            _front_matter(robot),
            MARKER,
            "",
            f"# World-language-action policy for `{robot.embodiment}`",
            "",
            "It looks at camera images, the robot's state and an instruction in words, and answers with "
            f"{expert.chunk} actions at once, "
            + ("after saying in words what they are for." if facts.predicts_subtasks else "without words.")
            + " When asked, it also imagines what the primary camera will show after them.",
            "",
            *_use(facts),
            "",
            "## Robot",
            "",
            f"`{robot.embodiment}`; `robot.json` has every detail. Any other robot is refused.",
            "",
            _table(
                ("camera", "pixels (height x width)", "the model reads"),
                (
                    (name, f"{size[0]} x {size[1]}{', primary' if index == 0 else ''}", _image_sizes(facts.model, name))
                    for index, (name, size) in enumerate(robot.observation.cameras.items())
                ),
            ),
            "",
            f"State, {robot.observation.state_dim} numbers, positions in the {robot.observation.state_frame} frame:",
            "",
            _table(("name", "unit"), zip(robot.observation.state_names, robot.observation.state_units, strict=True)),
            "",
            f"Action, {robot.action.dim} numbers at {robot.action.rate_hz:g} Hz, in the {robot.action.frame} frame; "
            f"gripper {robot.action.gripper}:",
            "",
            _table(
                ("name", "unit", "kind", "low", "high"),
                zip(
                    robot.action.names,
                    robot.action.units,
                    robot.action.kinds,
                    (f"{low:g}" for low in robot.action.low),
                    (f"{high:g}" for high in robot.action.high),
                    strict=True,
                ),
            ),
            "",
            "## Model",
            "",
            _table(
                ("part", "parameters"),
                [*((part, f"{count:,}") for part, count in facts.parameters.items()), ("all", f"{total:,}")],
            ),
            "",
            f"It computes in {facts.dtype}. Trained steps: "
            + (f"{facts.trained_steps:,}." if facts.trained_steps else "none on record (new, or imported)."),
            "",
            "## Limits",
            "",
            *(f"* {line}" for line in _limits(facts)),
            "",
        ]
    )


def _front_matter(robot: RobotSpec) -> str:
    # JSON strings are YAML strings, whatever somebody calls a robot.
    tags = ["robotics", "world-language-action", "wla", robot.embodiment]
    listed = "\n".join(f"- {json.dumps(tag, ensure_ascii=False)}" for tag in tags)
    return f"---\nlibrary_name: wla\npipeline_tag: robotics\ntags:\n{listed}\n---"


def _use(facts: ModelFacts) -> list[str]:
    observation = facts.robot.observation
    images = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: np.zeros(({height}, {width}, 3), np.uint8)"
        for name, (height, width) in observation.cameras.items()
    )
    return [
        "```python",
        "import numpy as np",
        "import wla",
        "from wla.types import Observation",
        "",
        'policy = wla.load_policy("USER/NAME")  # this folder, or its id on the hub',
        'state = policy.reset("what the robot should do")',
        f"images = {{{images}}}  # RGB, upright",
        f"observation = Observation(images, state=np.zeros({observation.state_dim}, np.float32))",
        "chunk, state = policy.act(observation, state)",
        f"print(chunk.subtasks, chunk.actions)  # ({facts.model.action_expert.chunk}, {facts.robot.action.dim})",
        "```",
        "",
        "Between two acts, call `state = policy.watch(observation, state)` at every step: some policies look back.",
        "`wla.load_policy(..., imagination=True)` and `policy.act(..., imagine=True)` give `chunk.subgoal`, the image.",
        "",
        "```sh",
        "wla eval-offline USER/NAME --dataset DATASET      # its words, images and actions against recorded episodes",
        "wla eval USER/NAME --out outputs/eval        # closed loop, where the simulator has this robot",
        "```",
    ]


def _image_sizes(model: WLAConfig, camera: str) -> str:
    """At which sides (pixels) the model reads a camera's image, and those of earlier times."""
    images = {name: side for name, side in model.backbone.cameras.items() if ImageKey.parse(name).camera == camera}
    return ", ".join(f"{name.removesuffix(camera)}{side} x {side}" for name, side in images.items()) or "not at all"


def _limits(facts: ModelFacts) -> list[str]:
    robot, expert = facts.robot, facts.model.action_expert
    run = expert.chunk if facts.replan_steps is None else facts.replan_steps
    return [
        f"It runs {run} of its {expert.chunk} actions, {run / robot.action.rate_hz:.2g} s, before it looks again.",
        f"Its actions start from noise of {facts.action_noise:.2g} standard deviations"
        + ("." if facts.action_noise else ", so the same observation gives the same actions."),
        "Actions are cut off at the limits above; states beyond those of the training data (`statistics.json`) are "
        "passed on as they are, and what the policy then does is untested.",
        "Before acting it says the subtasks that its actions cover; they are no explanation beyond that."
        if facts.predicts_subtasks
        else "It says nothing before acting: `chunk.subtasks` is empty.",
        f"It imagines {facts.model.target_side} x {facts.model.target_side} pixels of the primary camera only.",
        "How often it succeeds is not part of a checkpoint: no rate is claimed here. Measure it before you trust it.",
        "A license is not part of a checkpoint either: whoever publishes it has to add one.",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
