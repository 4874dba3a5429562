"""The pages: a module for each family of them, which asks `view.admin`, and shows what it says.

How to write one: `routes` has an example. The template (`templates/<family>/<page>.html`) extends
`base.html`, which says which blocks there are; `ui` in it are the macros of `templates/parts/ui.html`. A page
holds no rule: whether somebody may do something, what is seen of payloads, what is too much, says the
service. Whatever `ROUTES` here has is served.
"""

from __future__ import annotations

from typing import Final

from ..routes import Route
from . import (
    audit,
    bulks,
    dead,
    events,
    find,
    job,
    jobs,
    nodes,
    overview,
    queues,
    redis,
    schedules,
    session,
    sessions,
    signals,
    tree,
    why,
)

ROUTES: Final[list[Route]] = [
    *overview.ROUTES,
    *queues.ROUTES,
    *sessions.ROUTES,
    *session.ROUTES,
    *signals.ROUTES,
    *redis.ROUTES,
    *jobs.ROUTES,
    *why.ROUTES,
    *job.ROUTES,
    *dead.ROUTES,
    *bulks.ROUTES,
    *audit.ROUTES,
    *events.ROUTES,
    *schedules.ROUTES,
    *find.ROUTES,
    *tree.ROUTES,
    *nodes.ROUTES,
]
