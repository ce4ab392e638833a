"""`python -m wla` is the command line, also under torchrun."""

import sys

from wla.cli.main import main

sys.exit(main())
