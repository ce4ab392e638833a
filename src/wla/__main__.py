"""`python -m wla` is the command line, also under torchrun."""

import sys

from wla.cli.main import main

if __name__ == "__main__":  # worker processes import this file too
    sys.exit(main())
