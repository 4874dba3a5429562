"""What the store tells a node, message by message: for whom each is, and what may have been missed."""

from __future__ import annotations

from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.sessions.stopping import SessionStops
from am2z_trio.engine.states.locks import Locks
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.engine.work.claims import Claims
from am2z_trio.model.events import Event
from am2z_trio.model.records import (
    CancelRequest,
    Handed,
    InboxMessage,
    LockGranted,
    MayGoOn,
    SessionStopped,
    Settled,
    Wake,
)

from .fleet import Fleet
from .heartbeat import Heartbeat


class Inbox:
    """The `Listener` of one node."""

    def __init__(
        self,
        node_id: str,
        bus: Bus,
        in_flight: InFlight,
        fleet: Fleet,
        claims: Claims,
        locks: Locks,
        stops: SessionStops,
        heartbeat: Heartbeat,
    ) -> None:
        self._node_id = node_id
        self._bus = bus
        self._in_flight = in_flight
        self._fleet = fleet
        self._claims = claims
        self._locks = locks
        self._stops = stops
        self._heartbeat = heartbeat

    def on_message(self, message: InboxMessage) -> None:
        if isinstance(message, Settled):
            self._in_flight.on_settled(message)
        elif isinstance(message, Wake):
            worker = self._fleet.workers.get(message.queue)
            if worker is not None:
                worker.wake()
            else:
                self._heartbeat.pass_on(message.queue)
        elif isinstance(message, Handed):
            if not self._fleet.hand(message):
                self._claims.has_strays = True
                self._heartbeat.pass_on(message.queue)
        elif isinstance(message, CancelRequest):
            self._claims.cancel(message)
        elif isinstance(message, MayGoOn):
            self._claims.let_go_on(message)
        elif isinstance(message, LockGranted):
            self._locks.on_granted(message)
        else:
            assert isinstance(message, SessionStopped)
            self._stops.on_stopped(message.session, message.number)

    def on_event(self, event: Event) -> None:
        own = event.node == self._node_id and not event.job
        if own and event.name == "connection:lost" and event.data.get("connection") == "pushes":
            self._heartbeat.on_cut_off()
        self._bus.deliver(event)

    def on_reconnect(self) -> None:
        self._heartbeat.on_back()
        self.look_anew()

    def look_anew(self) -> None:
        """Whatever the store had to tell may have been missed."""
        self._in_flight.on_reconnect()
        self._claims.has_strays = True
        self._locks.on_reconnect()
        # The server may be another one, or have lost its end.
        self._fleet.say_again()
        self._fleet.wake_all()
        self._heartbeat.hurry()
