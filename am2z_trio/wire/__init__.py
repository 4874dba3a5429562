"""RESP over a byte stream: one connection that pipelines by itself, and a client that keeps it up.

```
callers ──call──► client ──► connection ──writer task──► stream ──► Redis
   ▲                │            │ reply slots, in order             │
   └──── spot ◄─────┴────────────┴──reader task ◄── stream ◄─────────┘
                                      └─ pushes ──► on_push(channel, payload)
```

Sending is synchronous: a command that finds nothing else on its way is written at once, in the task that
sends it; any other is appended and the writer woken, and everything appended in one pass of the scheduler
leaves in one write. Waiting is parking on a spot. So one connection
serves every task of a node, and a task may be cancelled at any time: its reply slot stays in line
and the reply is dropped. What subscribes is a client of its own: Redis closes a subscriber whose output
has grown beyond a limit, and replies count, too.

* `stream` - TCP, TLS, Unix socket, on either host; `sockets` - how they are connected;
  `host_streams`, `asyncio_stream` - how each host moves the bytes
* `resp` - pack, parse, and what an error reply means
* `scripts`, `programs` - scripts and libraries of functions, and what a server has been taught of them
* `request` - a command on its way; `connection` - one connection, from greeting to loss
* `handshake` - the greeting, and whether this server can be trusted with jobs
* `holes` - servers that somebody can take over
* `client` - reconnects, resubscribes, sends again what may be sent again
* `refusals` - what a server has put off; `backlog` - what no connection has

The wire knows nothing of jobs.
"""

from __future__ import annotations

from .client import ConnectionEvent, RedisClient
from .scripts import Script

__all__ = ["ConnectionEvent", "RedisClient", "Script"]
