"""A proxy between Redis clients and a Redis server that can do what networks do, on demand and counted.

```python
async with open_fault_proxy(server_url) as proxy:
    client = connect(proxy.url)                       # in this process or in another
    proxy.next(DropReply(match=b"EVALSHA"))           # one-shot: the next request that matches
    proxy.set(Delay(seconds=0.05))                    # standing, until set() again or heal()
    proxy.chance(0.01, [DropReply(), DropRequest(), HoldRequest(after=3)], Random(7))   # soak
    await proxy.wait_hits("drop reply")               # a fault test proves that its fault happened
    proxy.heal()
```

```
client ──requests──► FrameScanner ──► Line.sort ──► Schedule.meet ──► what lies on the bytes ──► server
client ◄── what lies on the bytes ◄── the request's fault ◄── Line.answered ◄── FrameScanner ◄── server
```

* `plan` - the faults as data, hits, and which fault meets which request; waits for nothing
* `frames` - where a RESP message ends
* `line` - which reply answers which request: pipelines, pushes, subscriptions
* `link` - one connection: two tasks that move bytes
* `proxy` - the listener, the test's controls, held requests
* `sockets` - plain sockets under AnyIO, which can be reset

A fault is met by a *request* (`next`, `chance`, or standing), or lies on *bytes* (`Delay`, `Slice`,
`Blackhole`, `CutAfter`, standing). A fault that ends a connection at a request is exact: all before
it is answered, nothing after it reaches the server. So of a pipeline, a test knows which request has
met it; the client, as in life, knows less.

Faults are plain data: a test that draws them prints as `[DropReply(skip=2), HoldRequest(after=1)]`,
and `msgspec.json` writes a plan down and reads it back as `list[Fault]`.

The proxy runs in the event loop that opened it. A test that blocks its loop (a blocking client, a
`Process.join`) blocks the proxy: do such things in a thread.

Not paired: requests after MONITOR, SYNC, PSYNC and CLIENT REPLY. From there on a connection is bytes.
"""

from __future__ import annotations

from .frames import FrameScanner
from .line import GREETING
from .plan import (
    Blackhole,
    ByteFault,
    CutAfter,
    CutAfterReply,
    Delay,
    Direction,
    Directions,
    DropReply,
    DropRequest,
    Ending,
    Fault,
    Hit,
    HoldRequest,
    Name,
    Refuse,
    Slice,
)
from .proxy import FaultProxy, open_fault_proxy

__all__ = [
    "open_fault_proxy",
    "FaultProxy",
    "Fault",
    "ByteFault",
    "Delay",
    "Blackhole",
    "Slice",
    "CutAfter",
    "DropReply",
    "CutAfterReply",
    "DropRequest",
    "HoldRequest",
    "Refuse",
    "Hit",
    "Name",
    "Direction",
    "Directions",
    "Ending",
    "GREETING",
    "FrameScanner",
]
