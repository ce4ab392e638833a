"""The lesson that teaches a backbone to see: what lies in each patch, and questions about scenes answered in words.

A base learns nothing else. A policy may take the lesson along: with actions alone it soon forgets where things are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from wla.batch import left_pad
from wla.data.normalize import VectorStatistics
from wla.data.prompts.nano import Prompter
from wla.models.backbones.base import Backbone
from wla.models.backbones.nano import NanoBackbone
from wla.models.losses import next_token_loss
from wla.training.grounding.patches import PatchHead, PatchTargets
from wla.training.grounding.questions import NamedObject, question_sample, questions
from wla.training.grounding.scenes import Scenes
from wla.training.trainer import StepLosses
from wla.types import IGNORE_INDEX


class Grounding(nn.Module):
    """Losses of a backbone on random scenes; the module holds the heads that only the lesson needs.

    state: the statistics that prompts are normalised with. The first three dimensions of the state are the tool's
    place, so places and state share their location words.
    """

    def __init__(self, scenes: Scenes, prompter: Prompter, state: VectorStatistics, backbone: NanoBackbone) -> None:
        super().__init__()
        low, high = np.array(state.min), np.array(state.max)
        center, radius = (low + high) / 2, np.maximum((high - low) / 2, 1e-6)
        self._scenes, self._prompter = scenes, prompter
        self._state = ((scenes.state - center) / radius).astype(np.float32)
        self._objects = [
            [
                NamedObject(thing.name, tuple((np.array(thing.position) - center[:3]) / radius[:3]), thing.label)
                for thing in scene
            ]
            for scene in scenes.objects
        ]
        self._targets = {
            camera: PatchTargets(scenes, camera, math.isqrt(count)) for camera, count in backbone.image_tokens.items()
        }
        self._heads = {camera: PatchHead(backbone.width, len(scenes.classes)) for camera in self._targets}
        self.heads = nn.ModuleDict(self._heads)

    def patch_loss(
        self, backbone: NanoBackbone, size: int, device: torch.device, rng: np.random.Generator
    ) -> StepLosses:
        """Only what lies in each patch: the vision stem alone learns, at a fifth of the cost."""
        chosen = self._sample_scenes(size, rng)
        images = self._images(chosen, device)
        features = {camera: backbone.stem(camera, image) for camera, image in images.items()}
        patches, metres = self._mean_patch_loss(features, chosen, device)
        return {"loss": patches, "patches": patches, "position_error_m": metres}, self._ids(chosen)

    def vqa_loss(self, backbone: Backbone, size: int, device: torch.device, rng: np.random.Generator) -> StepLosses:
        """What lies in each patch, and the answers to questions."""
        chosen = self._sample_scenes(size, rng)
        rows = [self._question_sample(int(index), rng) for index in chosen]
        tokens, mask = left_pad([row[0] for row in rows], self._prompter.pad)
        labels, _ = left_pad([row[1] for row in rows], IGNORE_INDEX)
        context = backbone.encode(tokens.to(device), mask.to(device), self._images(chosen, device))
        patches, metres = self._mean_patch_loss(context.images, chosen, device)
        learned = labels != IGNORE_INDEX
        logits, answers = backbone.logits(context.last[learned.to(device)]), labels[learned].to(device)
        language = next_token_loss(logits, answers)
        terms = {"loss": language + patches, "patches": patches, "position_error_m": metres, "language": language}
        return terms | self._vqa_metrics(logits.detach(), answers), self._ids(chosen)

    def _sample_scenes(self, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.sort(rng.integers(len(self._scenes), size=size))  # neighbouring reads of the memory map

    def _images(self, chosen: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        return {name: torch.from_numpy(pixels[chosen]).to(device) for name, pixels in self._scenes.images.items()}

    def _ids(self, chosen: np.ndarray) -> list[str]:
        return [f"scene {index}" for index in chosen]

    def _mean_patch_loss(
        self, features: dict[str, Tensor], chosen: np.ndarray, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Mean over the cameras."""
        found = [
            self._heads[camera].loss(
                features[camera],
                torch.from_numpy(target.present[chosen]).to(device),
                torch.from_numpy(target.positions[chosen]).to(device),
            )
            for camera, target in self._targets.items()
        ]
        loss, metres = (torch.stack(values).mean() for values in zip(*found, strict=True))
        return loss, metres

    def _question_sample(self, index: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        things = self._objects[index]
        here = {thing.name for thing in things}
        others = [name for name in self._scenes.names if name not in here]
        return question_sample(self._prompter, self._state[index], questions(things, rng, absent_names=others))

    def _vqa_metrics(self, logits: Tensor, answers: Tensor) -> dict[str, Tensor]:
        """Mean distance of located places in bins, and the share of right words."""
        first, count = self._prompter.first_location, self._prompter.config.locations
        guess = logits.argmax(-1)
        places = (answers >= first) & (answers < first + count)
        distance = (guess - answers)[places].abs().clamp(max=count).float().mean()
        return {"location_bin_error": distance, "token_accuracy": (guess == answers)[~places].float().mean()}
