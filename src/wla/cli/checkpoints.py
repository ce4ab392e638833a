"""`wla convert`, `wla import`, `wla export`, `wla parity`: in fewer bits, compiled, and in WLA-0's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from wla.cli.command import CliArgs, Command
from wla.cli.names import require_path
from wla.hardware import Precision
from wla.policy.hub import find, local_folder, resolve
from wla.presets.names import PresetName


class ConvertCheckpointArgs(CliArgs):
    """Copy a checkpoint with its weights in fewer bits, for shipping. They still compute in full precision.

    examples:
      wla convert outputs/nano_tabletop/checkpoint --out nano-tabletop
      wla convert outputs/nano_base/checkpoint --out nano-base
      wla convert outputs/metaworld_mt50/checkpoint --dtype int8 --no-imagination --out nano-metaworld
    """

    checkpoint: Path
    """Folder of the checkpoint of a policy, a backbone, a codec or a value model."""
    dtype: Literal["float16", "bfloat16", "int8"] = "float16"
    """Precision of the stored weights: half, where weights that are in bfloat16 already stay so, or int8, matrices in 8
    bits with a factor for each row."""
    imagination: bool = True
    """Keep what only predicts images, World Expert and image codec. Without it the copy acts as before."""
    out: Path
    """Folder of the copy."""


class ImportArgs(CliArgs):
    """Import a published WLA-0 checkpoint: weights, tokenizer, statistics, robot.

    Every key is accounted for; missing keys, unknown keys and keys of another shape are listed. Only safetensors are
    read. Checkpoint, --vlm and --sana are folders or hub ids; --vlm and --sana may be left out when the checkpoint's
    own config.json describes these models (sections qwen3_vl, sana, autoencoder_dc). OUT appears when everything is
    written.

    examples:
      wla import SJTU-DENG-Lab/wla_libero_all_image_action --vlm Alibaba-DAMO-Academy/RynnBrain-2B \\
          --sana SJTU-DENG-Lab/Sana_600M_512px_diffusers_64channels \\
          --statistics norm_stats.json --entry libero_all --out checkpoints/libero
      wla import downloads/robotwin --vlm downloads/RynnBrain-2B --sana downloads/Sana --preset wla0_robotwin \\
          --out checkpoints/robotwin
    """

    checkpoint: str
    """The published checkpoint: folder or hub id."""
    vlm: str | None = None
    """Folder or hub id of the vision-language model: its config.json and tokenizer.json."""
    sana: str | None = None
    """Folder or hub id of the Sana model: its transformer/ and vae/."""
    preset: PresetName | None = None
    """Name of the published model."""
    statistics: Path | None = None
    """JSON file with minimum and maximum of states and actions; the one beside the weights when left out."""
    entry: str | None = None
    """Entry of a dataset in that file."""
    out: Path
    """Folder of the new checkpoint."""


class ExportArgs(CliArgs):
    """Write a checkpoint for use elsewhere: in the published layout, with compiled functions, or in ONNX.

    published: a full-size checkpoint in WLA-0's layout; an imported one comes back bit for bit. compiled: a copy that
    also holds compiled code, for machines with this processor and these versions but without a compiler; --fast runs it
    (docs/guides/speed.md). onnx: graphs for ONNX Runtime, with which a nano policy acts without torch
    (docs/guides/onnx.md).

    examples:
      wla export checkpoints/libero --out published/libero
      wla export nano-memory --format compiled --out robot/nano-memory
      wla run robot/nano-memory --fast --robot tabletop:press_count
      wla export nano-memory --format onnx --out nano-memory-onnx
    """

    checkpoint: str
    """The checkpoint: folder, bundled name or hub id."""
    format: Literal["published", "compiled", "onnx"] = "published"
    """What is written."""
    precision: Precision = "float32"
    """With --format compiled: of matrix products; the same is named where they run (--fast --precision bfloat16)."""
    out: Path
    """Folder of the exported checkpoint."""


class ParityArgs(CliArgs):
    """Import a checkpoint and compare its outputs with recorded ones; then export it and compare the bits.

    FOLDER holds config.json, model.safetensors, inputs.safetensors and outputs.safetensors. Exits with 1 when the error
    of an output exceeds the tolerance.

    examples:
      wla parity tests/parity/official_tiny
    """

    folder: Path
    """Checkpoint with inputs and outputs."""
    tolerance: float = Field(default=1e-4, gt=0)
    """Largest absolute difference that passes."""


def convert(args: ConvertCheckpointArgs) -> int:
    folder = local_folder(args.checkpoint)
    require_path(folder, "checkpoint")
    from wla.policy.checkpoint import imagination_parts
    from wla.policy.checkpoint_files import convert_checkpoint

    convert_checkpoint(folder, args.out, args.dtype, skip=() if args.imagination else imagination_parts(folder))
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.1f} MB")
    return 0


def import_(args: ImportArgs) -> int:
    find(args.checkpoint, "checkpoint")
    for name, what in ((args.vlm, "vision-language model"), (args.sana, "Sana model")):
        if name is not None:
            find(name, what)
    if args.statistics is not None:
        require_path(args.statistics, "file of statistics")
    from wla.compat.import_policy import import_policy
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
    find(args.checkpoint, "checkpoint")
    if args.precision != "float32" and args.format != "compiled":
        raise ValueError(f"--precision {args.precision} is of compiled functions: --format compiled")
    if args.format == "compiled":
        from wla.policy.export_compiled import export_compiled

        export_compiled(resolve(args.checkpoint), args.out, args.precision)
        print(f"checkpoint with compiled functions: {args.out}")
        return 0
    if args.format == "onnx":
        from wla.runtime_onnx.export import export_onnx

        export_onnx(resolve(args.checkpoint, "checkpoint"), args.out)
        print(f"ONNX: {args.out}, {sum(path.stat().st_size for path in args.out.iterdir()) / 1e6:.1f} MB")
        return 0
    from wla.compat.published import export_model

    export_model(resolve(args.checkpoint, "checkpoint"), args.out)
    print(f"published layout: {args.out}")
    return 0


def parity(args: ParityArgs) -> int:
    require_path(args.folder, "checkpoint")
    from wla.compat.parity import compare

    rows = compare(args.folder, tolerance=args.tolerance)
    for row in rows:
        what = f"{row.max_abs_error:.0f} tensors changed" if row.name == "export" else f"{row.max_abs_error:.2e}"
        print(f"{row.name:<16}{what:<20}{'ok' if row.within_tolerance else 'WRONG'}")
    wrong = [row.name for row in rows if not row.within_tolerance]
    print(f"wrong: {', '.join(wrong)}" if wrong else f"all within {args.tolerance:g}")
    return 1 if wrong else 0


CHECKPOINTS = {
    "convert": Command(ConvertCheckpointArgs, convert, positional=("checkpoint",)),
    "import": Command(ImportArgs, import_, positional=("checkpoint",)),
    "export": Command(ExportArgs, export, positional=("checkpoint",)),
    "parity": Command(ParityArgs, parity, positional=("folder",)),
}
