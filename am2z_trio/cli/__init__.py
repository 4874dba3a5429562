"""The command `am2z`: run processors, look at what they do, and act on it.

* `main` - from the arguments to a command, and from its end to an exit status and one line
* `commands` - a module a command, or a family of them
* `parsing` - how commands are declared
* `exits` - what the exit status says
* `connection` - the runtime through which a command asks
* `output` - for a person a table, for a program JSON
* `places` - where a command that runs processors itself runs them
* `json_lines` - any processor over a file of JSON lines
* `loading` - `MODULE:NAME` to an object
* `log` - the engine's log, where the user's module configures none
* `signals` - Ctrl-C and SIGTERM
* `display` - progress on a terminal, tables
* `watch` - a list again and again
* `top` - what `am2z top` shows, and how
"""

from .main import main

__all__ = ["main"]
