"""The faults as data, and which of them meets which request.

Nothing here waits or touches a connection: a `Schedule` is asked, and answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Final, Literal, cast

import msgspec

from am2z_trio.model.checks import require, require_count, require_seconds

Direction = Literal["requests", "replies"]
Directions = Literal["requests", "replies", "both"]
"""`requests`: from the client to the server; `replies`: from the server to the client."""

Ending = Literal["reset", "close", "silence"]
"""How the client sees its connection end.

* `reset` - an abortive close: RST on TCP. A Unix socket knows none; its peer sees the end of the
  stream, or a reset if it had sent what was not read.
* `close` - the end of the stream, after all bytes before it.
* `silence` - not at all: it stands, and nothing moves any more until it is healed (then a reset), or
  until the client hangs up.
"""

Name = Literal[
    "delay",
    "blackhole",
    "slice",
    "cut after",
    "drop reply",
    "drop request",
    "cut after reply",
    "hold request",
    "refuse",
    "deliver late",
    "reset",
    "close",
]
"""What hits are counted under: a fault's `name`; `deliver late`, a held request that has been answered;
`reset` and `close`, a connection that `reset_all` and `close_all` have ended."""


class _Fault(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    match: bytes = b""
    """Only requests that contain these bytes, anywhere: a command's name, a key, a script's digest.
    Empty: every request."""
    skip: int = 0
    """So many requests that match are let through first."""

    def __post_init__(self) -> None:
        require(type(self.match) is bytes, "match", self.match, "must be bytes")
        require_count("skip", self.skip, least=0)
        for field in ("direction", "ending", "then"):
            value: object = getattr(self, field, None)
            known = _CHOICES[field]
            if value is not None:
                require(value in known, field, value, f"must be one of {', '.join(known)}")

    @property
    def name(self) -> Name:
        """What its hits are counted under; also its tag where it is written down."""
        return cast("Name", self.__struct_config__.tag)


_CHOICES: Final = {
    "direction": ("requests", "replies", "both"),
    "ending": ("reset", "close", "silence"),
    "then": ("deliver", "cut"),
}


class Delay(_Fault, frozen=True, kw_only=True, tag="delay"):
    """Bytes are kept for a while. What arrives meanwhile waits its turn: at most twice as long."""

    seconds: float
    """How long; healing ends it sooner."""
    direction: Directions = "both"
    """With `both`, a round trip takes twice `seconds` longer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seconds("seconds", self.seconds)


class Blackhole(_Fault, frozen=True, kw_only=True, tag="blackhole"):
    """Bytes are accepted and not delivered, and no end of a stream is passed on, until healed.

    As one fault of one request: its connection falls dark with this request (or with its reply).
    """

    direction: Directions = "both"
    """Which half of the network is gone."""
    then: Literal["deliver", "cut"] = "deliver"
    """When healed: deliver what was accepted, late, as TCP would after a partition, even if the
    client has hung up by then; or lose it, and reset the connection, whose stream has a hole.
    `deliver` accepts as much as the socket's buffers take, as a real partition would."""


class Slice(_Fault, frozen=True, kw_only=True, tag="slice"):
    """Bytes are delivered in pieces, each with a write of its own."""

    size: int = 1
    """Bytes of a piece."""
    pause: float = 0.0
    """Seconds between two pieces. With 0, a receiver that is slow may still read several at once."""
    direction: Directions = "both"
    """Which stream."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("size", self.size)
        require_seconds("pause", self.pause)


class CutAfter(_Fault, frozen=True, kw_only=True, tag="cut after"):
    """The connection is cut after exactly so many bytes of one direction.

    Standing: bytes of each connection, since it was set. As one fault of one request: bytes of this
    request, or of its reply; the whole of it, if it has no more.
    """

    size: int
    """Bytes that are delivered; 0 or more."""
    direction: Direction = "replies"
    """Whose bytes are counted. Bytes of the other direction flow until the cut."""
    ending: Ending = "close"
    """`reset` may take bytes along that the client had not read, where its system is so minded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("size", self.size, least=0)
        require(
            self.direction in ("requests", "replies"), "direction", self.direction, "must be one of the two"
        )


class DropReply(_Fault, frozen=True, kw_only=True, tag="drop reply"):
    """The server applies the request and answers; the answer is lost, and the connection with it.

    Exactly one: what was sent before is answered, what was sent after does not reach the server.
    """

    ending: Ending = "reset"
    """How the connection ends once the server has answered."""


class CutAfterReply(_Fault, frozen=True, kw_only=True, tag="cut after reply"):
    """The answer reaches the client, and right after it the connection ends.

    What was sent after this request does not reach the server.
    """

    ending: Ending = "close"
    """How the connection ends. `reset` may take along an answer that the client had not read."""


class DropRequest(_Fault, frozen=True, kw_only=True, tag="drop request"):
    """The request never reaches the server. Once all before it is answered, the connection ends."""

    ending: Ending = "reset"
    """How the connection ends."""


class HoldRequest(_Fault, frozen=True, kw_only=True, tag="hold request"):
    """The request is taken off the stream and reaches the server late, on a connection of its own.

    Once all before it is answered, the client's connection ends. If the client sends again, the held
    request comes as a late duplicate; if not, as a late first arrival. The late connection repeats
    the HELLO, AUTH and SELECT of the client's, and its answer is heard by nobody.
    """

    after: int | None = None
    """Delivered when so many further requests were answered, on any connection, greetings not
    counted. `None`: when `FaultProxy.deliver_held` is called."""
    ending: Ending = "reset"
    """How the client's connection ends."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after is not None:
            require_count("after", self.after, least=0)


class Refuse(_Fault, frozen=True, kw_only=True, tag="refuse"):
    """New connections are reset as soon as they stand. Only standing: it is about no request.

    They are accepted first, or they could not be counted.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.match and not self.skip, "match", self.match, "a connection has no request")


Fault = Delay | Blackhole | Slice | CutAfter | DropReply | CutAfterReply | DropRequest | HoldRequest | Refuse
"""One fault. A tagged union: `msgspec.json.decode(text, type=list[Fault])` reads a plan back."""

ByteFault = Delay | Blackhole | Slice | CutAfter
"""What can be done to bytes, whatever they mean."""


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A fault has had its effect."""

    name: Name
    """What it is counted under."""
    fault: Fault | None = None
    """The fault; `None` for what was done by hand, such as `reset_all`."""
    connection: int = 0
    """Number of the connection, from 1."""
    command: str = ""
    """First word of the request it befell; empty if it befell bytes or a connection."""


class _Armed:
    """A fault that waits for its request."""

    __slots__ = ("fault", "skip")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.skip = fault.skip

    def meets(self, request: bytes) -> bool:
        if self.fault.match not in request:
            return False
        if self.skip:
            self.skip -= 1
            return False
        return True


class Schedule:
    """Which fault meets which request, and which lie on the bytes."""

    def __init__(self) -> None:
        self.heals = 0
        """How often everything has been healed or set anew."""
        self.on_bytes: dict[Direction, tuple[ByteFault, ...]] = {"requests": (), "replies": ()}
        """The standing faults without a `match`, by direction."""
        self.refusing: Refuse | None = None
        self._armed: list[deque[_Armed]] = []
        self._standing: list[_Armed] = []
        self._chance = 0.0
        self._choice: Sequence[Fault] = ()
        self._random: Random | None = None

    def next(self, *faults: Fault) -> None:
        """Arm a plan: each fault waits for its request when the one before has met its own."""
        for fault in faults:
            require(not isinstance(fault, Refuse), "fault", fault, "refuses connections: use set()")
        if faults:
            self._armed.append(deque(_Armed(fault) for fault in faults))

    def set(self, *faults: Fault) -> None:
        """Let these stand, in place of those that stood."""
        self.heals += 1
        self._standing = []
        self.refusing = None
        on_bytes: dict[Direction, list[ByteFault]] = {"requests": [], "replies": []}
        for fault in faults:
            if isinstance(fault, Refuse):
                self.refusing = fault
            elif isinstance(fault, ByteFault) and not fault.match and not fault.skip:
                for direction, found in on_bytes.items():
                    if fault.direction in (direction, "both"):
                        found.append(fault)
            else:
                self._standing.append(_Armed(fault))
        self.on_bytes = {direction: tuple(found) for direction, found in on_bytes.items()}

    def chance(self, probability: float, faults: Sequence[Fault], random: Random) -> None:
        """From now on, each request meets one of the faults with this probability."""
        require(0.0 <= probability <= 1.0, "probability", probability, "must be from 0 to 1")
        require(len(faults) > 0, "faults", faults, "must have at least one")
        for fault in faults:
            require(not isinstance(fault, Refuse), "fault", fault, "refuses connections: use set()")
            require(fault.skip == 0, "skip", fault.skip, "has no meaning where chance decides")
        self._chance, self._choice, self._random = probability, tuple(faults), random

    def heal(self) -> None:
        """Nothing stands, nothing is armed, nothing is left to chance."""
        self.set()
        self._armed = []
        self._chance, self._choice, self._random = 0.0, (), None

    @property
    def armed(self) -> list[Fault]:
        """What `next` has armed and has met no request yet, in order."""
        return [armed.fault for plan in self._armed for armed in plan]

    def meet(self, request: bytes) -> Fault | None:
        """Decide about one request: planned faults first, then those that stand, then chance."""
        for plan in self._armed:
            if plan[0].meets(request):
                fault = plan.popleft().fault
                if not plan:
                    self._armed.remove(plan)
                return fault
        for armed in self._standing:
            if armed.meets(request):
                return armed.fault
        # The generator is asked for every request, so that a seed means the same faults again.
        if self._random is not None and self._random.random() < self._chance:
            fault = self._random.choice(self._choice)
            if fault.match in request:
                return fault
        return None
