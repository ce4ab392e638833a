"""Grounding losses on rendered scenes: object classes and positions per patch, and visual question answering.

They are the only losses of backbone pretraining. Policy training may add them as an auxiliary objective: trained on
actions alone, a backbone soon forgets where objects are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from wla.data.normalize import VectorStatistics
from wla.data.prompts.nano import Prompter
from wla.models.backbones.base import Backbone
from wla.models.backbones.nano import NanoBackbone
from wla.models.losses import next_token_loss
from wla.training.grounding.patches import PatchHead, PatchTargets
from wla.training.grounding.questions import NamedObject, collate_samples, in_state_units, question_sample, questions
from wla.training.grounding.scenes import Scenes
from wla.training.objective import StepLosses


class Grounding(nn.Module):
    """Losses of a backbone on random scenes; the module holds the patch heads, which are not part of a policy.

    state: statistics that normalise the state in prompts. The first three dimensions of the state are the tool's
    position, so object positions and state share the location tokens; a state of two dimensions is one in the plane.
    """

    def __init__(self, scenes: Scenes, prompter: Prompter, state: VectorStatistics, backbone: NanoBackbone) -> None:
        super().__init__()
        low, high = np.array(state.min), np.array(state.max)
        center, radius = (low + high) / 2, np.maximum((high - low) / 2, 1e-6)
        tool = center[:3], radius[:3]
        self._scenes, self._prompter = scenes, prompter
        self._state = ((scenes.state - center) / radius).astype(np.float32)
        self._objects = [
            [NamedObject(each.name, in_state_units(each.position, *tool), each.label) for each in scene]
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
        """Patch loss on `size` random scenes: trains the vision stem alone, at a fifth of the cost of `vqa_loss`.

        Terms: "patches" (the loss) and "position_error_m" (metres).
        """
        scenes = self._sample_scenes(size, rng)
        images = self._images(scenes, device)
        features = {camera: backbone.stem(camera, image) for camera, image in images.items()}
        patch_loss, position_error = self._mean_patch_loss(features, scenes, device)
        return {"loss": patch_loss, "patches": patch_loss, "position_error_m": position_error}, self._ids(scenes)

    def vqa_loss(self, backbone: Backbone, size: int, device: torch.device, rng: np.random.Generator) -> StepLosses:
        """Patch loss and next-token loss of the answers to questions, on `size` random scenes.

        Terms: those of `patch_loss`, "language", "location_bin_error" (bins) and "token_accuracy".
        """
        scenes = self._sample_scenes(size, rng)
        samples = [self._question_sample(int(scene), rng) for scene in scenes]
        tokens, mask, labels, has_label = collate_samples(samples, self._prompter.pad)
        context = backbone.encode(tokens.to(device), mask.to(device), self._images(scenes, device))
        patch_loss, position_error = self._mean_patch_loss(context.images, scenes, device)
        logits, answers = backbone.logits(context.last[has_label.to(device)]), labels[has_label].to(device)
        language_loss = next_token_loss(logits, answers)
        terms = {
            "loss": language_loss + patch_loss,
            "patches": patch_loss,
            "position_error_m": position_error,
            "language": language_loss,
        }
        return terms | self._vqa_metrics(logits.detach(), answers), self._ids(scenes)

    def _sample_scenes(self, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.sort(rng.integers(len(self._scenes), size=size))  # ascending, for sequential reads of the memory map

    def _images(self, scenes: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        return {name: torch.from_numpy(pixels[scenes]).to(device) for name, pixels in self._scenes.images.items()}

    def _ids(self, scenes: np.ndarray) -> list[str]:
        return [f"scene {index}" for index in scenes]

    def _mean_patch_loss(
        self, features: dict[str, Tensor], scenes: np.ndarray, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Patch loss and position error in metres, each the mean over the cameras."""
        per_camera = [
            self._heads[camera].loss(
                features[camera],
                torch.from_numpy(target.present[scenes]).to(device),
                torch.from_numpy(target.positions[scenes]).to(device),
            )
            for camera, target in self._targets.items()
        ]
        loss, position_error = (torch.stack(values).mean() for values in zip(*per_camera, strict=True))
        return loss, position_error

    def _question_sample(self, scene: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        objects = self._objects[scene]
        present_names = {each.name for each in objects}
        absent_names = [name for name in self._scenes.names if name not in present_names]
        return question_sample(self._prompter, self._state[scene], questions(objects, rng, absent_names=absent_names))

    def _vqa_metrics(self, logits: Tensor, answers: Tensor) -> dict[str, Tensor]:
        """Mean error of predicted location tokens in bins, and the accuracy of all other answer tokens."""
        first, count = self._prompter.first_location, self._prompter.config.locations
        predictions = logits.argmax(-1)
        is_location = (answers >= first) & (answers < first + count)
        bin_error = (predictions - answers)[is_location].abs().clamp(max=count).float().mean()
        accuracy = (predictions == answers)[~is_location].float().mean()
        return {"location_bin_error": bin_error, "token_accuracy": accuracy}
