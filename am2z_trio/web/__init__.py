"""The console: an operator's face in the browser (extra `web`). It holds no rule: every question and every
action is `admin`'s.

```python
from am2z_trio.web import console, proxy_header

app.mount("/am2z", console(runtime, authenticate=proxy_header("X-User", trusted=["10.0.0.0/8"])))
```

From the request to the page:

* `application` - the ASGI application: `console(runtime, authenticate=...)`
* `security` - who is let in, and what browsers may do with what they get; `cookies`
* `routes` - what a module of pages exports: `Page`, `Action`, `Endpoint`. Here is how to write one
* `view` - what such a page gets: who asks, the service in their name, what was asked for, `render`, `done`
* `pages` - the pages, a module for each family of them; `navigation` - how one gets there
* `addresses` - where each page is, and how ids of any text become parts of an address
* `stories` - what has happened to a job, as lines and as lanes; `charts` - geometry of what is drawn
* `rendering` - templates, and their blocks that are shown live; `words` - numbers and times as people say
  them; `messages` - what became of an action, said by the next page; `answers` - what is said where something
  is wrong
* `api` - the same for programs, as JSON: `/api/v1`; `exports` - lists as files
* `live` - what has changed on a page, sent while somebody looks
* `statics` - style and script, at addresses that name their content
"""

from __future__ import annotations

from .application import console
from .security import Authenticate, LoopbackToken, basic, bearer, loopback_token, proxy_header, scrypt

__all__ = [
    "Authenticate",
    "LoopbackToken",
    "basic",
    "bearer",
    "console",
    "loopback_token",
    "proxy_header",
    "scrypt",
]
