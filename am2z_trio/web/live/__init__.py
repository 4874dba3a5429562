"""What has changed on a page, sent while somebody looks.

The same address, asked for as an event stream, goes on telling what the page's live blocks (`routes.Page`)
hold. However many look, there is one poller in a process: it asks each page that is looked at once, for all
who look at it with the same rights, and there is none while nobody does.

* `hub` - what is looked at, and the poller
* `last_known` - what pages had to show last, for those that are opened while Redis is away
* `stream` - what one browser gets of it, as server-sent events
"""

from __future__ import annotations

from .hub import Hub
from .stream import Stream

__all__ = ["Hub", "Stream"]
