"""What can go wrong with waits and signals."""

from __future__ import annotations

from .errors import AM2ZError


class WaitTimeoutError(AM2ZError):
    """No signal came in the time that a job would wait for it (`ctx.wait_for`): `context["signal"]`."""

    code = "WAIT_TIMEOUT"
    category = "timeout"


class SignalRefusedError(AM2ZError):
    """A signal was not accepted, for `context["reason"]`: the job has `ended`; its mailbox is `full` of
    signals that nobody has taken yet; or its session is being `stopped`."""

    code = "SIGNAL_REFUSED"
    category = "state"
