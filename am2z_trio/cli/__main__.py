"""`python -m am2z_trio.cli`: the command `am2z` where its script is not on PATH."""

import sys

from .main import main

sys.exit(main())
