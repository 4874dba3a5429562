"""What a job waits for that no other job brings: a time, or a signal."""

from __future__ import annotations

from typing import Literal

import msgspec


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One wait of a job: the same in every run of it."""

    key: str
    """Which of the job's waits it is; no line's end in it."""
    name: str = ""
    """Of the signals that it waits for; empty: it waits for a time."""
    seconds: float | None = None
    """After which it is over, from when it began; `None`: never."""


class WaitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a wait stands."""

    status: Literal["open", "slept", "signalled", "timed_out", "other", "full", "fenced"]
    """`slept`: its time has come. `other`: the key is that of another wait, for `name`. `full`: the job has
    had too many waits. `fenced`: the claim is not the current one. What is `slept`, `signalled` or
    `timed_out` is so for ever."""
    value: bytes = b""
    """For `signalled`: what was sent, encoded."""
    left: float | None = None
    """For `open`: seconds until it is over; `None`: never."""
    name: str = ""
    many: bool = False
    """For `open`: its job has many, which are to be put together (`WaitStore.pack`) before it is parked."""


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal on its way."""

    name: str
    value: bytes
    """Encoded."""
    op: str
    """Names this one, should it be sent again; no blank in it."""


SignalAnswer = Literal["kept", "full", "ended", "gone", "stopped"]
"""`full`: too many are there that nobody has taken. `ended`: the job has. `gone`: there is no such job.
`stopped`: the session is being stopped. Nothing was kept then."""
