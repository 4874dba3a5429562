"""How large what a user can size may be, where no option says so: one table.

| what | most | beyond it |
|---|---|---|
| a text of an error: message, cause, a note, a value of its context | `MAX_TEXT_BYTES` | cut, with a mark |
| an error's code | `MAX_CODE_BYTES` | refused in `BusinessError`, else cut |
| entries of an error's context | `MAX_CONTEXT` | left out |
| a traceback | `MAX_TRACEBACK_BYTES` | cut in its middle, with a mark |
| one error with all its causes | `MAX_ERROR_BYTES` | later causes are left out, and counted |
| causes within causes | `MAX_CAUSE_DEPTH` | left out |
| partial states of one error | `MAX_PARTIAL_BYTES` | left out, the context says so |
| the errors of earlier attempts together | `MAX_HISTORY_BYTES` | the oldest go first |
| why a job was cancelled | `MAX_REASON_BYTES` | cut, with a mark |
| a processor's name, an event's name | `MAX_NAME_BYTES` | refused |
| a node's name | `MAX_NODE_BYTES` | refused |
| a session's id | `MAX_SESSION_BYTES` | refused |
| a job's id that a user chose | `MAX_JOB_ID_BYTES` | refused |
| the key of a call, or of a debounced job | `MAX_KEY_BYTES` | refused |
| an event's data | `MAX_EVENT_BYTES` | refused |
| an event's data in the history of events | `MAX_KEPT_EVENT_BYTES` | left out there |
| events not yet read by a handler or stream, not yet sent by a node | `MAX_BUFFER_BYTES` | the oldest go |
| names in `ctx.debug.call_stack` | `MAX_CALLERS`, `MAX_CALLERS_BYTES` | those in the midst are left out |
| calls of one run of a job | `MAX_CALLS` | refused |
| a signal's value | `MAX_SIGNAL_BYTES` | refused |
| signals to a job or a session that nobody has taken | `MOST_SIGNALS`, `MOST_SIGNAL_BYTES` | refused |
| waits of one job | `MOST_WAITS` | refused |
| what is kept of a job's log | `MAX_LINES_BYTES` | its first lines go |
| a job's tags | `MAX_TAGS`, each of `MAX_TAG_BYTES` | refused |
| a tracestate that travels with a job | `MAX_TRACESTATE_BYTES` | its last entries are left out |

Bytes are those of UTF-8 and of msgpack. A state's own limit is `max_state_bytes`.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024

MAX_TEXT_BYTES: Final = 8 * KIB
MAX_CODE_BYTES: Final = 200
MAX_CONTEXT: Final = 32
MAX_TRACEBACK_BYTES: Final = 16 * KIB
MAX_ERROR_BYTES: Final = 128 * KIB
MAX_CAUSE_DEPTH: Final = 8
MAX_PARTIAL_BYTES: Final = KIB * KIB
"""What a state may be by default."""
MAX_HISTORY_BYTES: Final = 64 * KIB
MAX_REASON_BYTES: Final = KIB
MAX_NAME_BYTES: Final = 800
MAX_NODE_BYTES: Final = 256
MAX_SESSION_BYTES: Final = 16 * KIB
MAX_JOB_ID_BYTES: Final = 800
MAX_ANY_ID_BYTES: Final = 4 * KIB
"""Of a job whose id the engine has made: its parent's, and the key of the call."""
MAX_KEY_BYTES: Final = KIB
MAX_TAGS: Final = 16
MAX_TAG_BYTES: Final = 128
MAX_EVENT_BYTES: Final = 64 * KIB
MAX_SIGNAL_BYTES: Final = 64 * KIB
MAX_KEPT_EVENT_BYTES: Final = 4 * KIB
MAX_BUFFER_BYTES: Final = 16 * KIB * KIB
MAX_CALLERS: Final = 100
MAX_CALLERS_BYTES: Final = 4 * KIB
MAX_CALLS: Final = 100_000
MAX_TRACESTATE_BYTES: Final = 512
MAX_TRACE_BYTES: Final = KIB
"""Of a `JobSpec.trace`; longer ones are taken for none."""
