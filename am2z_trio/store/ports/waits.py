"""What the engine asks of a store about waits that no other job ends, and signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from am2z_trio.model.records import Signal, SignalAnswer, Wait, WaitAnswer


class WaitStore(Protocol):
    """What jobs wait for beside other jobs: times, and signals, which anybody may send.

    Waits and signals stay until the job ends, however often it is run and wherever. A job of which a wait is
    open may give its claim up: it is settled as `parked`.
    """

    async def wait(self, job: str, token: str, wait: Wait) -> WaitAnswer:
        """Begin a wait, or hear what has become of it: the same in every run of the job.

        It is over when a signal of its name is there, which it takes then, or its time has come; looked at
        in this order. Signals to the job come first, in the order in which they were sent, and those that
        were sent before the wait began count. Then come those to its session: of the jobs that wait for such
        ones, as many as there are signals may take one, the first ones. A job that gets on has `stalls` 0.

        Linearization point: what became of it is in the job's record, and the signal in no mailbox.
        """
        ...

    async def pack(self, job: str, token: str, keys: Sequence[str]) -> None:
        """Put the waits of a job together that are to stay when it is parked, and drop the others: to be done
        before, where an answer has said that it has `many`. It may wait for others after that, and be packed
        again. Without effect where the claim is not the current one."""
        ...

    async def signal(self, job: str, signal: Signal) -> SignalAnswer:
        """Send a signal to a job that has not ended. One that is parked for it goes back to the front of its
        queue; the node of one that runs and waits for it hears `Signalled`.

        Linearization point: it is in the job's mailbox. There are `MOST_SIGNALS` at most, of
        `MOST_SIGNAL_BYTES` together.
        """
        ...

    async def signal_session(self, session: str, signal: Signal) -> SignalAnswer:
        """Send a signal to a session: one of its jobs takes it, that which has waited longest. Without one it
        is kept, as are all to the session, for `SIGNALS_TTL` after the last one, or until the session is
        stopped. As `signal` otherwise."""
        ...
