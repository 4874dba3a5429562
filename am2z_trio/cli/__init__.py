"""The command `am2z`: a demonstration, jobs over JSON lines, and a worker process.

* `main` - arguments, signals, and one line per error
* `demo` - a map-reduce over real text files
* `run` - any processor over a file of JSON lines
* `worker` - serves a runtime's processors until a signal
* `loading` - `MODULE:NAME` to an object
* `log` - the engine's log, where the user's module configures none
* `display` - progress on a terminal, tables
"""

from .main import main

__all__ = ["main"]
