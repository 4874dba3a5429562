"""`python -m benchmarks.scripts`."""

from . import main

main()
