"""A span's context as the text that jobs carry, and back: W3C's traceparent, a line's end, its tracestate.

Anybody may have written what is read: it is bounded before it is looked at, and what is not understood is
nothing.
"""

from __future__ import annotations

import random
import re
from typing import Final

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from am2z_trio.model.limits import MAX_TRACE_BYTES, MAX_TRACESTATE_BYTES

_PARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?"
)

SAMPLED: Final = 1
"""The bit of a traceparent's flags that says so."""

_LENGTH: Final = 55
"""Of a traceparent of version 00."""


def read(trace: object) -> SpanContext | None:
    """The context that a job carries; `None` for none that is understood."""
    if type(trace) is not str or not _LENGTH <= len(trace) <= MAX_TRACE_BYTES:
        return None
    parent, _, state = trace.partition("\n")
    found = _PARENT.fullmatch(parent)
    # What a later version may add, the first one does not.
    if found is None or (found[5] is not None and found[1] == "00"):
        return None
    return SpanContext(
        int(found[2], 16), int(found[3], 16), True, TraceFlags(int(found[4], 16)), _state_of(state)
    )


def _state_of(text: str) -> TraceState | None:
    """Empty, and no reason to drop the parent, where it is not understood."""
    if not text or len(text) > MAX_TRACESTATE_BYTES or not (text.isascii() and text.isprintable()):
        return None
    return TraceState.from_header([text])


def write(context: SpanContext) -> str:
    """The text of a context; empty for one that is not valid."""
    if not context.is_valid:
        return ""
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    state = shortened(context.trace_state.to_header()) if context.trace_state else ""
    return f"{parent}\n{state}" if state else parent


def shortened(state: str) -> str:
    """As many whole entries of a tracestate as there is room for, the newest ones, which come first."""
    while len(state) > MAX_TRACESTATE_BYTES:
        state = state.rpartition(",")[0]
    return state


def is_sampled(context: SpanContext) -> bool:
    """What its sender has decided, for all that follows from it."""
    return bool(context.trace_flags & SAMPLED)


def unsampled() -> SpanContext:
    """A context of nothing, for what is not sampled: so all that it leads to is not either."""
    trace, span = random.getrandbits(128) or 1, random.getrandbits(64) or 1
    return SpanContext(trace, span, False, TraceFlags(0))
