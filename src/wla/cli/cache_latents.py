"""`wla data cache-latents`: what the image codec makes of a dataset's frames; parsing and printing only."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt

from wla.cli.command import CliArgs, Command
from wla.cli.names import require_dataset


class CacheLatentsArgs(CliArgs):
    """Encode a camera's frames once with a frozen image codec, into DATASET/.cache.

    A recipe with cache_latents=true reads them instead of encoding images in every step, and makes them itself where
    they are missing; a machine without a GPU, or one process ahead of many, may make them first. `wla data clear-cache`
    removes them.

    examples:
      wla data cache-latents datasets/place --codec outputs/wla0_libero/checkpoint
      wla data cache-latents datasets/place --codec outputs/nano_codec/checkpoint --camera front --size 96
    """

    datasets: tuple[Path, ...] = Field(min_length=1)
    """Folders of LeRobot v3.0 datasets."""
    codec: str
    """A codec's folder, or a policy (folder or bundled name) whose codec it is."""
    camera: str | None = None
    """The camera; the policy's primary one, or the dataset's first, when left out."""
    size: PositiveInt | None = None
    """Pixels along each side of the squares that are encoded; those of the policy's subgoals when left out."""


def cache_latents(args: CacheLatentsArgs) -> int:
    for path in args.datasets:
        require_dataset(path)
    from wla.data.lerobot.reader import LeRobotDataset
    from wla.training.objectives.latent_cache import cached_latents
    from wla.training.objectives.pretrained_codec import codec_of

    found = codec_of(args.codec)
    size = args.size or found.size
    if size is None:
        raise ValueError(f"--codec {args.codec}: a codec alone does not say how large images are; give --size")
    for path in args.datasets:
        dataset = LeRobotDataset(path)
        camera = args.camera or found.camera or next(iter(dataset.cameras), "")
        latents = cached_latents(dataset, camera, size, found.image_fit, found.codec)
        shape = " x ".join(map(str, latents.shape[1:]))
        print(f"{path}: {len(latents)} latents of {shape}, {latents.nbytes / 1e6:.1f} MB")
    return 0


CACHE_LATENTS = {"cache-latents": Command(CacheLatentsArgs, cache_latents, positional=("datasets",))}
