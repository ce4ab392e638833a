"""The data that a policy is trained on: a mixture of datasets of one robot or several, its statistics, its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wla.data import (
    ActionRepresentation,
    LeRobotDataset,
    RobotTransform,
    Statistics,
    VectorStatistics,
)
from wla.data.action_statistics import action_statistics
from wla.data.loader import DatasetConfig, WindowSampler
from wla.data.prompt_samples import PromptSampler
from wla.data.robot_transform import addressed
from wla.policy import Checkpoint, TrainingData
from wla.specs import RobotSpec
from wla.training.datasets import open_sources
from wla.training.objectives.configs import MixtureConfig, PolicyDataConfig, StatisticsConfig
from wla.training.objectives.latent_cache import latents_of


@dataclass(frozen=True)
class PolicyData:
    """Opened datasets, each with its configuration."""

    sources: Sequence[DatasetConfig]
    datasets: Sequence[LeRobotDataset]

    @classmethod
    def open(cls, config: MixtureConfig) -> PolicyData:
        """ValueError as for `open_sources`, and for a mixture of none."""
        if not config.datasets:
            raise ValueError("datasets: none are named; give at least one (datasets=FOLDER)")
        return cls(*open_sources(config.datasets))

    def held_out(self, config: MixtureConfig) -> PolicyData | None:
        """The validation datasets, and the held-out episodes of the datasets that have some; None without any.

        ValueError as for `open_sources`, and when they are of a robot that nothing is learned for.
        """
        own = [(s, d) for s, d in zip(self.sources, self.datasets, strict=True) if s.holds_out]
        own += zip(*open_sources(config.validation_datasets, "validation"), strict=True)
        if not own:
            return None
        found = PolicyData([source.replace(weight=None) for source, _ in own], [dataset for _, dataset in own])
        trained, all_robots = self.robots, robots_of([*self.with_actions, *found.with_actions])
        if len(all_robots) > len(trained):
            names = ", ".join(spec.embodiment for spec in trained)
            raise ValueError(
                f"validation_datasets: the robot {all_robots[len(trained)].embodiment!r} is not one that is trained on "
                f"({names}); use those of the same robots"
            )
        return found

    def record(self, before: TrainingData | None) -> TrainingData:
        """The episodes that are trained on, after those of the policy that is continued."""
        return TrainingData.of(zip(self.sources, self.datasets, strict=True), before)

    @property
    def with_actions(self) -> list[LeRobotDataset]:
        """The datasets whose actions are learned."""
        return [dataset for dataset, source in zip(self.datasets, self.sources, strict=True) if source.actions]

    @property
    def robots(self) -> list[RobotSpec]:
        """The robots whose actions are learned; see `robots_of`."""
        return robots_of(self.with_actions)

    def of_robot(self, robot: RobotSpec) -> list[LeRobotDataset]:
        """The datasets whose actions are learned for this one of the robots."""
        return [each for each in self.with_actions if each.require_robot().embodiment == robot.embodiment]

    @property
    def texts(self) -> list[str]:
        """Every instruction and subtask; with several robots also the instructions as they are in prompts."""
        found = [text for dataset in self.datasets for text in (*dataset.instructions, *dataset.subtask_texts)]
        robots = self.robots if len(self.robots) > 1 else ()
        asked = [(spec.embodiment, each) for spec in robots for each in self.of_robot(spec)]
        return [*found, *(addressed(name, text) for name, each in asked for text in each.instructions)]

    @property
    def labelled(self) -> bool:
        """Whether a frame of any dataset has a subtask."""
        return any(each.subtasks is not None and bool((each.subtasks >= 0).any()) for each in self.datasets)

    def statistics(
        self,
        config: StatisticsConfig | None,
        robot: RobotSpec,
        representation: ActionRepresentation,
        chunk: int,
        state: VectorStatistics | None,
        action: VectorStatistics | None,
    ) -> Statistics:
        """Ranges of one of the robots: from a file, or else the given ones, or else those of its datasets; of actions
        as they are represented in chunks of that length. ValueError without actions."""
        if config is not None:
            if not representation.is_plain:
                raise ValueError(
                    f"{config.path}: has ranges of the robot's actions, and action_representation "
                    "makes others of them; leave `statistics` out"
                )
            statistics = config.read(robot)
        else:
            own = self.of_robot(robot)
            state = state or VectorStatistics.of([dataset.state for dataset in own])
            action = action or action_statistics(own, representation, chunk)
            statistics = Statistics(state=state, action=action)
        if statistics.action is None:
            raise ValueError("none of the datasets has actions; a policy needs at least one that does")
        return statistics

    def windows(
        self,
        checkpoint: Checkpoint,
        config: PolicyDataConfig,
        *,
        with_subgoal: bool = False,
        held_out: bool = False,
    ) -> WindowSampler:
        """Windows to train the checkpoint's model on, in the units of its statistics; see `WindowSampler`."""
        interface = checkpoint.config.model.interface
        robots = [_transform(checkpoint, dataset) for dataset in self.datasets]
        cameras = [robot.cameras[interface.primary] for robot in robots]
        return WindowSampler(
            datasets=self.datasets,
            configs=self.sources,
            robots=robots,
            prompts=PromptSampler(
                checkpoint.prompter, interface.chunk, config.memory_augmentation, config.instruction_dropout
            ),
            images=dict(interface.images),
            primary=interface.primary,
            subgoal_size=interface.subgoal_size,
            chunk=interface.chunk,
            image_augmentation=None if held_out else config.image_augmentation,
            image_dropout=config.image_dropout,
            with_subgoal=with_subgoal,
            subgoal_offsets=config.subgoal_offsets,
            clip_subgoals=config.clip_subgoals,
            latents=latents_of(checkpoint.model, self.datasets, cameras) if config.cache_latents else None,
            held_out=held_out,
            image_fit=interface.image_fit,
        )


def _transform(checkpoint: Checkpoint, dataset: LeRobotDataset) -> RobotTransform:
    """Between a dataset's robot and the model. Videos of another robot than those of several are of none of them, so
    that no name goes with them; their cameras keep their names."""
    spec, robots = dataset.robot_spec, checkpoint.robots
    same = [robot for robot in robots if spec is not None and robot.spec.embodiment == spec.embodiment]
    found = checkpoint.transform(next(iter(same), robots[0]))
    return (
        found if same or len(robots) == 1 else replace(found, name="", cameras={name: name for name in found.cameras})
    )


def robots_of(datasets: Sequence[LeRobotDataset]) -> list[RobotSpec]:
    """The robots of these datasets, identified by name.

    ValueError when there are no datasets, when one names no robot, or when two robots of one name differ.
    """
    groups: dict[str, list[LeRobotDataset]] = {}
    for dataset in datasets:
        groups.setdefault(dataset.require_robot().embodiment, []).append(dataset)
    return [common_robot_spec(group) for group in groups.values() or [[]]]


def common_robot_spec(datasets: Sequence[LeRobotDataset]) -> RobotSpec:
    """The robot of all these datasets; limits that come from data reach as far as any of them.

    ValueError when there are none, when they differ or when one names none.
    """
    if not datasets:
        raise ValueError(
            "datasets: none has actions to learn (actions=false everywhere); a policy needs at least one that does"
        )
    first, specs = datasets[0], [dataset.require_robot() for dataset in datasets]
    for dataset, spec in zip(datasets[1:], specs[1:], strict=True):
        try:
            specs[0].require_equal(spec, ours=str(first.root), theirs=str(dataset.root))
        except ValueError as error:
            hint = f" Or name them apart: both are called {spec.embodiment!r}."
            raise ValueError(f"{error}{hint if spec.embodiment == specs[0].embodiment else ''}") from error
    stated = [spec for spec in specs if spec.action.limits == "stated"]
    if stated:
        return stated[0]
    low, high = (
        tuple(map(of, zip(*(getattr(spec.action, name) for spec in specs), strict=True)))
        for of, name in ((min, "low"), (max, "high"))
    )
    return specs[0].replace(action=specs[0].action.replace(low=low, high=high))


def require_instructions(datasets: Sequence[LeRobotDataset], checkpoint: Checkpoint) -> None:
    """ValueError for an episode whose instruction a policy would not take: it is blank, or too long for nano's prompts
    (the published ones cut it)."""
    prompt = checkpoint.config.prompt
    if prompt is None:
        return
    prompter, room = checkpoint.prompter, prompt.instruction_tokens
    for dataset in datasets:
        for text, episode in {episode.instruction: episode for episode in reversed(dataset.episodes)}.items():
            where = f"{dataset.root} episode {episode.index}"
            if not text.strip():
                raise ValueError(f"{where}: has no instruction (its task is empty); write it into meta/tasks.parquet")
            length = prompter.instruction_length(_transform(checkpoint, dataset).instruction(text))
            if prompt.kind == "nano" and length > room:
                raise ValueError(f"{where}: its instruction has {length} tokens, prompts hold {room}; make it shorter")
