"""`Admin`: every question and every action of operators, whichever face asks."""

from __future__ import annotations

from .calendars import CalendarDesk
from .figures import FigureDesk
from .lives import LifeDesk
from .nodes import NodeDesk
from .queues import QueueDesk
from .records import RecordDesk
from .servers import ServerDesk
from .sessions import SessionDesk
from .watching import WatchDesk


class Admin(
    QueueDesk,
    LifeDesk,
    SessionDesk,
    CalendarDesk,
    RecordDesk,
    NodeDesk,
    WatchDesk,
    FigureDesk,
    ServerDesk,
):
    """The service for operators, seen by one principal at one face: `Admin(runtime, principal=ada,
    face="cli")`.

    Each question and action checks the permission here and shows only what is the principal's business; who
    may not do something gets a `NotPermittedError`, and that it was tried is written down. Actions are
    written down before they are done and after; one that cannot be written down is not done. What has moved
    on since is an `Answer` that says what is so now. The runtime must be entered; all raise `NetworkError`
    where the store cannot be reached.
    """
