"""The service for operators: questions and actions, whichever face asks.

* `service` - `Admin`, which is all of it; `asking` - who asks, and whether they may
* `jobs`, `queues`, `sessions`, `schedules`, `bulks`, `nodes`, `watching`, `figures` - questions and actions,
  by subject; `lives` - calls, changes and reasons around jobs, and how many there are
* `query` - the language in which jobs are asked for; `matching` - whether a job is what is asked for;
  `plan` - where such jobs can be; `search` - these places looked through; `cursors` - where a list goes on
* `following` - lines of a job's log as they come
* `bulk` - how an action on many jobs goes on, as pure steps
* `fingerprints` - which failures are of one kind; `reproduction` - a job as a test
* `servers` - what of the server's memory the namespace takes
* `series` - what charts show, read once for all who look
* `changes` - what one version of a state has changed of another
* `principals` - who may do what; `redaction` - what of payloads is seen
* `audit` - who has done what, written down before it is done
* `findings` - what needs a person, `usual` and `rounds` - what that is found in;
  `doctor` - whether the server is fit for its work
* `calendars` - when schedules come, and what if
* `forecasts` - what memory the records of ended jobs will take
"""

from __future__ import annotations

from .principals import PERMISSIONS, ROLES, NotPermittedError, Permission, Principal
from .redaction import Rules
from .service import Admin

__all__ = ["PERMISSIONS", "ROLES", "Admin", "NotPermittedError", "Permission", "Principal", "Rules"]
