"""`wla` and `python -m wla` are the command line, also under torchrun."""

import sys


def main() -> int:
    """Runs one command. Returns its exit code."""
    try:
        from wla.cli.main import main
    except KeyboardInterrupt:  # Ctrl-C while modules load
        print("wla: interrupted", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":  # worker processes import this file too
    sys.exit(main())
