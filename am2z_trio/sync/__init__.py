"""A runtime for programs without an event loop: scripts, Django, notebooks.

`SyncRuntime` runs a runtime in a thread of its own, with a loop of its own. What may be asked of it is what
`runtime.from_thread` offers any thread (`engine/runtime/from_thread.py`), which gets into the loop through
the node's portal (`engine/node/portal.py`).
"""

from .runtime import SyncRuntime

__all__ = ["SyncRuntime"]
