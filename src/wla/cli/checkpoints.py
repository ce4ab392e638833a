"""`wla import`, `wla export`, `wla parity`: checkpoints in the published layout of WLA-0."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from tyro.conf import Positional

from wla.cli.command import CliArgs, Command


class ImportArgs(CliArgs):
    """Turn a published WLA-0 checkpoint into one of ours: weights, tokenizer, statistics, robot.

    Every key is accounted for; what is missing, too many or of another shape is listed. Only safetensors are read.
    Checkpoint, --vlm and --sana are folders or hub ids; --vlm and --sana may be left out when the checkpoint's own
    config.json describes these models (sections qwen3_vl, sana, autoencoder_dc). OUT appears when all is done.

    examples:
      wla import SJTU-DENG-Lab/wla_libero_all_image_action --vlm Alibaba-DAMO-Academy/RynnBrain-2B --sana SJTU-DENG-Lab/Sana_600M_512px_diffusers_64channels --statistics norm_stats.json --entry libero_all --out checkpoints/libero
      wla import downloads/robotwin --vlm downloads/RynnBrain-2B --sana downloads/Sana --preset wla0_robotwin --out checkpoints/robotwin
    """  # noqa: E501

    checkpoint: Positional[str]
    """The published checkpoint: folder or hub id."""
    vlm: str | None = None
    """Folder or hub id of the vision-language model: its config.json and tokenizer.json."""
    sana: str | None = None
    """Folder or hub id of the Sana model: its transformer/ and vae/."""
    preset: str | None = None
    """Which published model it is: wla0_libero, wla0_robotwin, wla0_robotwin_videos, wla0_rmbench."""
    statistics: Path | None = None
    """JSON file with minimum and maximum of states and actions; the one beside the weights when left out."""
    entry: str | None = None
    """Which dataset's entry of that file."""
    out: Path
    """Folder of the new checkpoint."""


class ExportArgs(CliArgs):
    """Write one of our full-size checkpoints in the published layout; an imported one comes back bit for bit.

    examples:
      wla export checkpoints/libero --out published/libero
    """

    checkpoint: Positional[str]
    """The checkpoint: folder or hub id."""
    out: Path
    """Folder of the exported checkpoint."""


class ParityArgs(CliArgs):
    """Import a checkpoint and compare what it computes with given numbers; then export it and compare the bits.

    FOLDER holds config.json, model.safetensors, inputs.safetensors and outputs.safetensors. Exits with 1 when an output
    is off by more than the tolerance.

    examples:
      wla parity tests/parity/official_tiny
    """

    folder: Positional[Path]
    """Checkpoint with inputs and outputs."""
    tolerance: float = Field(default=1e-4, gt=0)
    """Largest absolute difference that passes."""


def import_(args: ImportArgs) -> int:
    from wla.compat.import_policy import import_policy
    from wla.policy.hub import resolve
    from wla.specs import RobotSpec

    lacks = import_policy(
        resolve(args.checkpoint, "checkpoint"),
        args.out,
        vlm=resolve(args.vlm, "vision-language model") if args.vlm else None,
        sana=resolve(args.sana, "Sana model") if args.sana else None,
        preset=args.preset,
        statistics=args.statistics,
        entry=args.entry,
    )
    robot = args.out / "robot.json"
    print(f"checkpoint: {args.out}" + (f", for {RobotSpec.load(robot).embodiment}" if robot.is_file() else ""))
    for line in lacks:
        print(f"cannot act yet, lacks {line}")
    return 0


def export(args: ExportArgs) -> int:
    from wla.compat.published import export_model
    from wla.policy.hub import resolve

    export_model(resolve(args.checkpoint, "checkpoint"), args.out)
    print(f"published layout: {args.out}")
    return 0


def parity(args: ParityArgs) -> int:
    from wla.compat.parity import compare

    rows = compare(args.folder, tolerance=args.tolerance)
    for row in rows:
        what = f"{row.max_abs_error:.0f} tensors changed" if row.name == "export" else f"{row.max_abs_error:.2e}"
        print(f"{row.name:<16}{what:<20}{'ok' if row.within_tolerance else 'WRONG'}")
    wrong = [row.name for row in rows if not row.within_tolerance]
    print(f"wrong: {', '.join(wrong)}" if wrong else f"all within {args.tolerance:g}")
    return 1 if wrong else 0


CHECKPOINTS = {
    "import": Command(ImportArgs, import_),
    "export": Command(ExportArgs, export),
    "parity": Command(ParityArgs, parity),
}
