"""What the store tells a node, message by message: for whom each is, and what may have been missed."""

from __future__ import annotations

from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.execution.waits import Waits
from am2z_trio.engine.sessions.stopping import SessionStops
from am2z_trio.engine.states.locks import Locks
from am2z_trio.model.events import Event
from am2z_trio.model.records import (
    Ask,
    CancelRequest,
    Handed,
    InboxMessage,
    LockGranted,
    MayGoOn,
    SessionStopped,
    Settled,
    Signalled,
    Wake,
)

from .control import Control
from .heartbeat import Heartbeat


class Inbox:
    """The `Listener` of one node."""

    def __init__(
        self,
        emitter: Emitter,
        locks: Locks,
        stops: SessionStops,
        waits: Waits,
        heartbeat: Heartbeat,
        control: Control,
    ) -> None:
        self._node_id, self._bus = emitter.node, emitter.bus
        self._in_flight = control.inside.in_flight
        self._fleet = control.inside.fleet
        self._claims = control.inside.claims
        self._locks = locks
        self._stops = stops
        self._waits = waits
        self._heartbeat = heartbeat
        self._control = control

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
        elif isinstance(message, Signalled):
            self._waits.on_signal(message)
        elif isinstance(message, LockGranted):
            self._locks.on_granted(message)
        elif isinstance(message, SessionStopped):
            self._stops.on_stopped(message.session, message.number)
        elif isinstance(message, Ask):
            self._control.on_ask(message)
        else:
            self._control.asking.on_told(message)

    def on_event(self, event: Event) -> None:
        own = event.node == self._node_id and not event.job
        if own and event.name == "connection:lost" and event.data.get("connection") == "pushes":
            self._heartbeat.on_cut_off()
        if own and event.name == "connection:ready" and event.data.get("attempt"):
            self._fleet.figures.reconnects += 1
        self._bus.deliver(event)

    def on_reconnect(self) -> None:
        self._heartbeat.on_back()
        self.look_anew()

    def look_anew(self) -> None:
        """Whatever the store had to tell may have been missed."""
        self._in_flight.on_reconnect()
        self._claims.has_strays = True
        self._locks.on_reconnect()
        self._waits.on_reconnect()
        # The server may be another one, or have lost its end.
        self._fleet.say_again()
        self._fleet.wake_all()
        self._heartbeat.hurry()
