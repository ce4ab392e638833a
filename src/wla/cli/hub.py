"""`wla push`, `wla pull`: checkpoints and datasets to the hub and from it; parsing and printing only."""

from __future__ import annotations

from pathlib import Path

from wla.cli.command import CliArgs, Command
from wla.cli.names import require_path
from wla.policy.hub import local_folder


class PushArgs(CliArgs):
    """Upload a checkpoint or dataset to the Hugging Face hub, with its card.

    Only what belongs to it: no training state, caches or hidden files. Log in first (`hf auth login`, or HF_TOKEN); a
    new repository is public or private as the hub does by default. One that holds other files is refused without --yes.

    examples:
      wla push outputs/my_run me/my-policy --license apache-2.0
      wla push outputs/my_run me/my-policy --license apache-2.0 --results outputs/my_eval/summary.json --yes
      wla push datasets/place me/place --license cc-by-4.0 --private
    """

    source: Path
    """Folder of a run, checkpoint or dataset, or a bundled name."""
    target: str
    """Repository: OWNER/NAME."""
    license: str | None = None
    """License as the hub names it (apache-2.0, cc-by-4.0, other); left out, the card keeps its own, if it has one."""
    results: Path | None = None
    """The summary.json of an evaluation of this checkpoint, for the card."""
    private: bool = False
    """Create a private repository."""
    yes: bool = False
    """Replace other files that the repository holds."""


class PullArgs(CliArgs):
    """Download a checkpoint or dataset from the Hugging Face hub into a new folder.

    Only files of a checkpoint or of a LeRobot v3.0 dataset: no code. Commands that take a policy take its id, too, and
    download it themselves.

    examples:
      wla pull me/my-policy --out checkpoints/my_policy
      wla pull me/place --out datasets/place
    """

    source: str
    """Repository: OWNER/NAME."""
    out: Path
    """New folder."""


def push(args: PushArgs) -> int:
    if not local_folder(args.source).exists():
        require_path(args.source, "folder")
    if args.results is not None:
        require_path(args.results, "file")
    from wla.compat.hub import push
    from wla.compat.hub_card import card_of, license_of
    from wla.compat.hub_files import find_shared

    shared = find_shared(args.source)
    card = card_of(shared, args.license, args.results)
    done = push(shared, args.target, card, private=args.private, overwrite=args.yes)
    changes = f"{len(done.uploaded)} files uploaded, {len(done.removed)} removed"
    print(f"{done.url}: {changes if done.uploaded or done.removed else 'has all of it already'}")
    if license_of(card) is None:
        print("no license is stated, so nobody else may use it: add one with --license")
    return 0


def pull(args: PullArgs) -> int:
    from wla.compat.hub import pull
    from wla.compat.hub_card import license_of
    from wla.compat.hub_files import CARD

    shared = pull(args.source, args.out)
    card = args.out / CARD
    # Somebody else's text, of which only the license is shown.
    stated = license_of(card.read_bytes().decode("utf-8-sig", "replace")) if card.is_file() else None
    print(f"{args.out}: {shared.what}, {len(shared.files)} files, license: {stated or 'none stated'}")
    return 0


HUB = {
    "push": Command(PushArgs, push, positional=("source", "target")),
    "pull": Command(PullArgs, pull, positional=("source",)),
}
