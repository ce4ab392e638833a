"""The small backbone's head start: what is where in each patch, and questions about scenes, answered in words."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.data.lerobot import LeRobotDataset
from wla.data.normalize import Statistics, compute_statistics
from wla.data.prompts import PromptConfig, Prompter, left_pad
from wla.data.questions import Thing, question_sample, question_texts, questions
from wla.data.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from wla.files import replacing
from wla.models.losses import next_token_loss
from wla.models.nano_backbone import NanoBackbone, NanoBackboneConfig
from wla.policy.checkpoint import load_weights, save_weights
from wla.policy.locate import bundled
from wla.training.patches import PatchHead, PatchTargets
from wla.training.scenes import SceneConfig, render_scenes
from wla.training.trainer import LoopConfig, StepLosses
from wla.types import IGNORE

CONFIG, WEIGHTS, TOKENIZER, STATISTICS = "base.json", "base.safetensors", "tokenizer.json", "statistics.json"


class BaseTraining(Config):
    """Recipe of a base. datasets: where the words of the tokenizer and the range of the state come from."""

    backbone: NanoBackboneConfig
    prompt: PromptConfig
    scenes: SceneConfig
    scenes_folder: str
    datasets: tuple[str, ...]
    workers: int = 2
    look_steps: int = 1000
    """At the beginning only the vision stem is trained, on patches: five times as many samples per second."""
    loop: LoopConfig

    def build(self) -> BaseTask:
        return BaseTask(self)


class BaseTask:
    """A `wla.training.trainer.Task`."""

    def __init__(self, config: BaseTraining) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        self.scenes = render_scenes(config.scenes, Path(config.scenes_folder), workers=config.workers)
        datasets = [LeRobotDataset(Path(path)) for path in config.datasets]
        self.statistics = compute_statistics(datasets)
        texts = [text for dataset in datasets for text in (*dataset.instructions, *dataset.subtask_texts)]
        self.tokenizer = train_tokenizer(
            [*texts, *question_texts(self.scenes.names)],
            queries=config.prompt.queries,
            locations=config.prompt.locations,
            size=config.backbone.vocabulary,
        )
        self.backbone = NanoBackbone(config.backbone)
        self.prompter = Prompter(config.prompt, self.tokenizer, self.backbone.image_tokens)
        low, high = np.array(self.statistics.state.min), np.array(self.statistics.state.max)
        center, radius = (low + high) / 2, np.maximum((high - low) / 2, 1e-6)
        self.names = self.scenes.names
        self.state = ((self.scenes.state - center) / radius).astype(np.float32)
        # The first three state dimensions are the tool's place, so places and state share their location words.
        self.things = [
            [Thing(thing.name, tuple((np.array(thing.place) - center[:3]) / radius[:3])) for thing in scene]
            for scene in self.scenes.things
        ]
        self.targets = {
            camera: PatchTargets(self.scenes, camera, math.isqrt(count), self.names)
            for camera, count in self.backbone.image_tokens.items()
        }
        self.heads = {camera: PatchHead(self.backbone.width, len(self.names)) for camera in self.targets}
        self._module = nn.ModuleDict({"backbone": self.backbone, "heads": nn.ModuleDict(self.heads)})

    @property
    def module(self) -> nn.Module:
        return self._module

    def losses(self, step: int, device: torch.device, generator: torch.Generator) -> StepLosses:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        chosen = np.sort(rng.integers(len(self.scenes), size=self.config.loop.batch_size))
        images = {name: torch.from_numpy(pixels[chosen]).to(device) for name, pixels in self.scenes.images.items()}
        ids = [f"scene {index}" for index in chosen]
        if step < self.config.look_steps:
            features = {camera: self.backbone.stem(camera, image) for camera, image in images.items()}
            patches, metres = self._patch_loss(features, chosen, device)
            return {"loss": patches, "patches": patches, "metres_off": metres}, ids
        rows = [self._sample(int(index), rng) for index in chosen]
        tokens, mask = left_pad([row[0] for row in rows], self.prompter.pad)
        labels, _ = left_pad([row[1] for row in rows], IGNORE)
        context = self.backbone.read(tokens.to(device), mask.to(device), images)
        patches, metres = self._patch_loss(context.images, chosen, device)
        learned = labels != IGNORE
        logits, answers = self.backbone.logits(context.last[learned.to(device)]), labels[learned].to(device)
        language = next_token_loss(logits, answers)
        terms = {"loss": language + patches, "patches": patches, "metres_off": metres, "language": language}
        return terms | self._quality(logits.detach(), answers), ids

    def save(self, folder: Path, step: int) -> None:
        with replacing(folder) as fresh:
            self.config.save(fresh / CONFIG)
            self.statistics.save(fresh / STATISTICS)
            save_tokenizer(self.tokenizer, fresh / TOKENIZER)
            save_weights(self.backbone.state_dict(), fresh / WEIGHTS)

    def _patch_loss(
        self, features: dict[str, Tensor], chosen: np.ndarray, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Mean over the cameras."""
        found = [
            self.heads[camera].loss(
                features[camera],
                torch.from_numpy(target.present[chosen]).to(device),
                torch.from_numpy(target.places[chosen]).to(device),
            )
            for camera, target in self.targets.items()
        ]
        loss, metres = (torch.stack(values).mean() for values in zip(*found, strict=True))
        return loss, metres

    def _sample(self, index: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        things = self.things[index]
        here = {thing.name for thing in things}
        others = [name for name in self.names if name not in here]
        return question_sample(self.prompter, self.state[index], questions(things, rng, others=others))

    def _quality(self, logits: Tensor, answers: Tensor) -> dict[str, Tensor]:
        """Mean distance of located places in bins, and the share of right words."""
        guess, first = logits.argmax(-1), self.prompter.first_location
        places = (answers >= first) & (answers < first + self.config.prompt.locations)
        distance = (guess - answers)[places].abs().clamp(max=self.config.prompt.locations).float().mean()
        return {"bins_off": distance, "words_right": (guess == answers)[~places].float().mean()}


def load_base(name: str | Path) -> tuple[BaseTraining, NanoBackbone, Prompter, Statistics]:
    """A trained base, by bundled name or folder: its recipe, backbone, prompter and the state's statistics.

    ValueError when there is none.
    """
    folder = bundled().get(str(name), Path(name))
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no base here; train one first (recipes/nano_base.py)")
    config = BaseTraining.load(folder / CONFIG)
    backbone = NanoBackbone(config.backbone)
    load_weights(backbone, folder / WEIGHTS)
    prompter = Prompter(config.prompt, load_tokenizer(folder / TOKENIZER), backbone.image_tokens)
    return config, backbone, prompter, Statistics.load(folder / STATISTICS)
