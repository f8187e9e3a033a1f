"""`python -m checkerjax`: the command line."""

import sys

from checkerjax.cli import main

sys.exit(main())
