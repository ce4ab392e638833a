"""The README.md of a checkpoint: shown by the hub, made only of the contents of the checkpoint itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wla.data.action_representation import ActionRepresentationConfig
from wla.data.normalize import NormalizationConfig
from wla.models.model_config import ModelInterface
from wla.specs import RobotSpec
from wla.types import ImageKey

MARKER = "<!-- Written by wla when this checkpoint was saved. Remove this line, and your own text survives saving. -->"


@dataclass(frozen=True)
class ModelFacts:
    """Contents of a card. robots: those that it is for, usually one. parameters: part -> number of its weights.
    representation, normalization: of the actions inside the model."""

    kind: str
    interface: ModelInterface
    robots: Sequence[RobotSpec]
    representation: ActionRepresentationConfig
    normalization: NormalizationConfig
    parameters: Mapping[str, int]
    predicts_subtasks: bool
    dtype: str
    trained_steps: int
    replan_steps: int | None
    action_noise: float

    @property
    def predicts_images(self) -> bool:
        return self.interface.imagined_size is not None

    @property
    def reads_text(self) -> bool:
        return bool(self.interface.image_tokens)


def count_parameters(weights: Mapping[str, Tensor], parts: Mapping[str, str]) -> dict[str, int]:
    """Numbers in the weights of each part (name -> prefix), and in all of them."""
    counts = {
        part: sum(value.numel() for name, value in weights.items() if name.startswith(prefix))
        for part, prefix in parts.items()
    }
    return counts | {"all": sum(value.numel() for value in weights.values())}


def keep_or_write(old: Path, new: Path, facts: ModelFacts) -> None:
    """Write the card to `new`, or copy `old` there if somebody wrote that: a card of ours carries `MARKER`."""
    new.write_bytes(model_card(facts).encode())
    keep_card(old, new)


def keep_card(old: Path, new: Path) -> None:
    """Copy the card of the previous checkpoint over the new one's if somebody wrote it."""
    if old.is_file() and MARKER.encode() not in (text := old.read_bytes()):
        new.write_bytes(text)


def model_card(facts: ModelFacts) -> str:
    """Markdown with the hub's front matter. There is no license in it: a checkpoint does not know its own."""
    name = "World-language-action" if facts.kind == "wla" else f"Robot ({facts.kind})"
    return "\n".join(
        [
            _front_matter(facts.robots),
            MARKER,
            "",
            f"# {name} policy for {', '.join(f'`{robot.embodiment}`' for robot in facts.robots)}",
            "",
            _summary(facts),
            "",
            *_use(facts),
            "",
            "## Robot",
            "",
            *(line for robot in facts.robots for line in (*_robot(facts, robot), "")),
            "## Model",
            "",
            _table(("part", "parameters"), ((part, f"{count:,}") for part, count in facts.parameters.items())),
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


def _summary(facts: ModelFacts) -> str:
    reads = "camera images, the robot's state and an instruction" if facts.reads_text else "camera images and the state"
    text = ", after generating the subtasks that they are for" if facts.predicts_subtasks else ""
    images = " On request it also predicts the image of the primary camera after them." if facts.predicts_images else ""
    return f"It reads {reads}, and predicts {facts.interface.chunk} actions at once{text}.{images}"


def _robot(facts: ModelFacts, robot: RobotSpec) -> list[str]:
    observation, action = robot.observation, robot.action
    file = "robots.json" if len(facts.robots) > 1 else "robot.json"
    return [
        f"`{robot.embodiment}`; `{file}` has every detail. Any other robot is refused.",
        "",
        _table(
            ("camera", "pixels (height x width)", "the model reads"),
            (
                (
                    name,
                    f"{size[0]} x {size[1]}{', primary' if index == 0 else ''}",
                    _image_sizes(facts.interface, name),
                )
                for index, (name, size) in enumerate(observation.cameras.items())
            ),
        ),
        "",
        f"State, {observation.state_dim} numbers, positions in the {observation.state_frame} frame:",
        "",
        _table(("name", "unit"), zip(observation.state_names, observation.state_units, strict=True)),
        "",
        f"Action, {action.dim} numbers at {action.rate_hz:g} Hz, in the {action.frame} frame; "
        f"gripper {action.gripper}:",
        "",
        _table(
            ("name", "unit", "kind", "low", "high"),
            zip(
                action.names,
                action.units,
                action.kinds,
                (f"{low:g}" for low in action.low),
                (f"{high:g}" for high in action.high),
                strict=True,
            ),
        ),
        "",
        f"Inside the model: {facts.representation.build(robot).description or 'the same actions'}. Normalised by "
        f"{facts.normalization.action}, the state by {facts.normalization.state}.",
    ]


def _front_matter(robots: Sequence[RobotSpec]) -> str:
    # JSON strings are YAML strings, whatever somebody calls a robot.
    tags = ["robotics", "world-language-action", "wla", *(robot.embodiment for robot in robots)]
    listed = "\n".join(f"- {json.dumps(tag, ensure_ascii=False)}" for tag in tags)
    return f"---\nlibrary_name: wla\npipeline_tag: robotics\ntags:\n{listed}\n---"


def _use(facts: ModelFacts) -> list[str]:
    robot, several = facts.robots[0], len(facts.robots) > 1
    named = f", robot={json.dumps(robot.embodiment, ensure_ascii=False)}" if several else ""
    images = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: np.zeros(({height}, {width}, 3), np.uint8)"
        for name, (height, width) in robot.observation.cameras.items()
    )
    imagine = (
        "`wla.load_policy(..., imagination=True)` and `policy.act(..., imagine=True)` give `chunk.subgoal`, the image."
    )
    return [
        "```python",
        "import numpy as np",
        "import wla",
        "from wla.types import Observation",
        "",
        f'policy = wla.load_policy("USER/NAME"{named})  # this folder, or its id on the hub',
        'state = policy.reset("what the robot should do")',
        f"images = {{{images}}}  # RGB, upright",
        f"observation = Observation(images, state=np.zeros({robot.observation.state_dim}, np.float32))",
        "chunk, state = policy.act(observation, state)",
        f"print(chunk.subtasks, chunk.actions)  # ({facts.interface.chunk}, {robot.action.dim})",
        "```",
        "",
        "Between two acts, call `state = policy.observe(observation, state)` each step: some policies read the past.",
        *([imagine] if facts.predicts_images else []),
        "",
        "```sh",
        "wla eval-offline USER/NAME --dataset DATASET      # text, images and actions against recorded episodes",
        "wla eval USER/NAME --out outputs/eval        # closed loop, where the simulator has this robot",
        "```",
    ]


def _image_sizes(interface: ModelInterface, camera: str) -> str:
    """Sides (pixels) at which the model reads a camera's image, and its images of earlier times."""
    keys = {ImageKey.parse(name): side for name, side in interface.images.items()}
    times = {
        "" if key.time == "current" else f"{key.time} ": side for key, side in keys.items() if key.camera == camera
    }
    return ", ".join(f"{time}{side} x {side}" for time, side in times.items()) or "not at all"


def _limits(facts: ModelFacts) -> list[str]:
    chunk, size = facts.interface.chunk, facts.interface.imagined_size
    run = chunk if facts.replan_steps is None else facts.replan_steps
    seconds = " or ".join(dict.fromkeys(f"{run / robot.action.rate_hz:.2g}" for robot in facts.robots))
    statistics = "robots.json" if len(facts.robots) > 1 else "statistics.json"
    return [
        f"It runs {run} of its {chunk} actions, {seconds} s, before it looks again.",
        f"Its actions start from noise of {facts.action_noise:.2g} standard deviations"
        + ("." if facts.action_noise else ", so the same observation gives the same actions."),
        f"Actions are clipped to the limits above; states beyond those of the training data (`{statistics}`) are "
        "passed on as they are, and the policy's actions for them are untested.",
        "Before acting it generates the subtasks that its actions cover; they are no explanation beyond that."
        if facts.predicts_subtasks
        else "It generates no text: `chunk.subtasks` is empty.",
        f"It predicts {size} x {size} pixels of the primary camera only." if size else "It predicts no images.",
        "Its success rate is not part of a checkpoint: none is claimed here. Measure it before you trust it.",
        "A license is not part of a checkpoint either: whoever publishes it has to add one.",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
