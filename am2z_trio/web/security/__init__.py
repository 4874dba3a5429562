"""Who may come in, and what browsers may do with what they get.

* `who` - how it is found who asks: `authenticate`, and those that are ready made: `loopback_token` (a link
  that opens the console once), `proxy_header`, `basic`, `bearer`
* `hosts` - by which names it may be asked for
* `origin` - that a change was asked for by one of its own pages
* `headers` - what browsers are told to allow
* `guard` - all of it, around the application
"""

from __future__ import annotations

from .who import Authenticate, LoopbackToken, basic, bearer, loopback_token, proxy_header, scrypt

__all__ = ["Authenticate", "LoopbackToken", "basic", "bearer", "loopback_token", "proxy_header", "scrypt"]
