"""How long one script holds Redis at most, operation by operation: `python -m benchmarks.scripts --help`.

* `probe` - a store's client that measures every script call
* `backlog` - what has piled up
* `operations` - each with the worst backlog for it
* `report` - the table, and the command
"""

from .backlog import SIZES
from .operations import OPERATIONS
from .report import main, measure

__all__ = ["OPERATIONS", "SIZES", "main", "measure"]
