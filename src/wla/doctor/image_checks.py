"""Comparison of an environment's images and starts with recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64, UInt8

from wla.doctor.finding import Finding
from wla.doctor.trajectories import Trajectory

Image = UInt8[np.ndarray, "_ _ 3"]
View = Callable[[np.ndarray], np.ndarray]
ORIENTATIONS: dict[str, View] = {
    "": lambda image: image,
    "turned by 180 degrees": lambda image: image[::-1, ::-1],
    "upside down": lambda image: image[::-1],
    "mirrored": lambda image: image[:, ::-1],
    "turned to the left": np.rot90,
    "turned to the right": lambda image: np.rot90(image, -1),
    "transposed": lambda image: image.swapaxes(0, 1),
    "transposed and turned by 180 degrees": lambda image: image[::-1, ::-1].swapaxes(0, 1),
}
COLOURS: dict[str, View] = {"": lambda image: image, "with red and blue swapped": lambda image: image[..., ::-1]}
CLEARLY = 0.5
"""Fraction of the squared difference that another view has to leave, to be taken for the cause."""
RATHER = 0.95
"""Fraction of the squared difference below which another seed's start is taken for the recorded one."""


def check_frames(recorded: Sequence[Trajectory], seen: Sequence[Trajectory]) -> list[Finding]:
    """Whether each camera shows what was recorded, upright, not mirrored, in the same colours."""
    if not recorded:
        return [Finding("frames", "not checked: give recorded episodes with --dataset", None)]
    cameras = [name for name in seen[0].images if name in recorded[0].images]
    absent = sorted(recorded[0].images.keys() - seen[0].images.keys())
    findings = [_check_camera(name, *(_mean(each, name) for each in (recorded, seen))) for name in cameras]
    if absent:
        text = f"the environment does not show the recorded camera {', '.join(absent)}"
        findings.append(Finding("frames", text, False, "name its cameras as the recording does"))
    return findings


def view_of(recorded: Float64[np.ndarray, "_ _ 3"], seen: Float64[np.ndarray, "_ _ 3"]) -> tuple[str, View]:
    """The change of the recorded image that the seen one shows, in words ("" for none), and as a function."""
    distances: dict[tuple[str, str], float] = {}
    for turn, turned in ORIENTATIONS.items():
        for colour, coloured in COLOURS.items():
            image = coloured(turned(recorded))
            if image.shape == seen.shape:
                distances[turn, colour] = float(((image - seen) ** 2).mean())
    best = min(distances, key=lambda key: distances[key])
    if distances[best] >= CLEARLY * distances["", ""]:
        best = ("", "")
    turn, colour = best
    return " and ".join(filter(None, best)), lambda image: COLOURS[colour](ORIENTATIONS[turn](image))


def check_starts(
    first: Trajectory,
    again: Trajectory,
    others: Sequence[Trajectory],
    recorded: Sequence[Trajectory],
    replayed: Sequence[Trajectory],
) -> Finding:
    """Whether seeds determine the start of an episode, and recorded seeds the recorded one.

    first, again: of the same seed. others: of different ones. recorded, replayed: pairs of the same seeds.
    """
    name = "seeds"
    if not _alike(first, again):
        return Finding(
            name,
            f"seed {first.seed} starts differently the second time",
            False,
            "hand the seed to the simulator, and reset all that an episode changes",
        )
    if others and all(_alike(first, each) for each in others):
        seeds = ", ".join(str(each.seed) for each in (first, *others))
        return Finding(name, f"seeds {seeds} all start alike", False, "hand the seed of reset to the simulator")
    wrong = _wrong_starts(recorded, [*replayed, *others])
    if wrong:
        seeds = ", ".join(str(recorded[index].seed) for index in wrong)
        return Finding(
            name,
            f"recorded seed {seeds}: the start is not the recorded one, but more like another seed's",
            False,
            "give the simulator the seed as it is, and the version that recorded",
        )
    compared = f", and the {len(recorded)} recorded ones their recorded starts" if recorded and replayed else ""
    return Finding(name, f"the same seed gives the same start{compared}", True)


def _wrong_starts(recorded: Sequence[Trajectory], candidates: Sequence[Trajectory]) -> list[int]:
    """Indices of recordings whose start is nearer to another candidate's than to that of the same index.

    Only what differs between the candidates counts, so that the scene that all share does not hide the objects.
    """
    if not recorded or len(candidates) < max(2, len(recorded)):
        return []
    camera = next((name for name in recorded[0].images if name in candidates[0].images), None)
    if camera is None:
        return []
    _, view = view_of(_mean(recorded, camera), _mean(candidates[: len(recorded)], camera))
    seen = np.stack([each.images[camera].astype(np.float64) for each in candidates])
    varies = seen.std(0) > 1.0
    wrong = []
    for index, each in enumerate(recorded):
        image = view(each.images[camera].astype(np.float64))
        if image.shape != seen.shape[1:] or not varies.any():
            return []
        distances = ((seen - image)[:, varies] ** 2).mean(1)
        if distances.min() < RATHER * distances[index]:
            wrong.append(index)
    return wrong


def _check_camera(name: str, recorded: Float64[np.ndarray, "_ _ 3"], seen: Float64[np.ndarray, "_ _ 3"]) -> Finding:
    if recorded.shape != seen.shape and recorded.shape[:2] != seen.shape[1::-1]:
        sizes = " and recorded with ".join(f"{height} x {width}" for height, width, _ in (seen.shape, recorded.shape))
        return Finding("frames", f"camera {name} has {sizes} pixels", False, "render it in the recorded size")
    if recorded.shape != seen.shape:
        return Finding("frames", f"camera {name} lies on its side", False, "turn it as recorded")
    words, _ = view_of(recorded, seen)
    if words:
        return Finding("frames", f"camera {name} is {words} against the recording", False, "undo that in the adapter")
    level = float(np.abs(recorded - seen).mean())
    return Finding("frames", f"camera {name} is as recorded ({level:.1f} of 255 levels apart)", True)


def _mean(trajectories: Sequence[Trajectory], camera: str) -> Float64[np.ndarray, "_ _ 3"]:
    return np.stack([each.images[camera] for each in trajectories]).mean(0, dtype=np.float64)


def _alike(one: Trajectory, other: Trajectory) -> bool:
    return np.array_equal(one.states[0], other.states[0]) and all(
        np.array_equal(image, other.images[name]) for name, image in one.images.items()
    )
