"""`am2z session verify --all`: whether the states of all sessions are what was written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

import anyio
import msgspec

from am2z_trio.admin import Admin
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.checks import require_count
from am2z_trio.model.errors import AM2ZError, NetworkError
from am2z_trio.model.views.actions import Answer

from ..display import note, progress, say
from ..exits import DONE, FAILED
from ..operators import open_admin
from ..output import Output

PAGE: Final = 200
"""Sessions that are asked for at a time."""

AT_ONCE: Final = 20
"""States that are looked at at a time."""

MOST: Final = 10_000
"""Sessions of one run, where nothing else is said."""


class Spoilt(msgspec.Struct, frozen=True, kw_only=True):
    """A state that is not what was written, or could not be read."""

    session: str
    sound: bool = False
    text: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How far it has come: the last line."""

    looked_at: int
    of: int
    """Sessions with jobs, as the store counts them."""
    spoilt: int
    cursor: str
    """With which it goes on; empty: these were all."""


async def verify_all(options: argparse.Namespace) -> int:
    """Of the sessions that have jobs, `--limit` at most."""
    most = require_count("--limit", options.limit, least=1)
    output, looked_at, spoilt = Output(options.json), set[str](), 0
    async with open_admin(options) as admin:
        page = await admin.sessions(limit=min(PAGE, most), cursor=options.cursor)
        with progress("verifying", min(page.of, most), quiet=options.json) as advance:
            while True:
                # The store may tell one twice, while sessions come and go.
                names = [row.session for row in page.rows if row.session not in looked_at]
                looked_at.update(names)
                for one in await _spoilt(admin, names):
                    spoilt += 1
                    output.told(f"session {one.session!r}: {one.text}", one)
                advance(len(names))
                if not page.cursor or len(looked_at) >= most:
                    break
                page = await admin.sessions(limit=min(PAGE, most - len(looked_at)), cursor=page.cursor)
    done = Verified(looked_at=len(looked_at), of=page.of, spoilt=spoilt, cursor=page.cursor)
    if options.json:
        output.line(done)
    else:
        found = f"{spoilt:,} are not what was written" if spoilt else "all states are what was written"
        say(f"looked at {done.looked_at:,} of {max(done.of, done.looked_at):,} sessions with jobs: {found}")
        if done.cursor:
            note(f"there are more: --cursor {done.cursor}")
    return FAILED if spoilt else DONE


async def _spoilt(admin: Admin, sessions: Sequence[str]) -> list[Spoilt]:
    """Those whose states are not what was written, in this order."""
    answers = dict[str, Answer]()

    async def look(some: Sequence[str]) -> None:
        for name in some:
            try:
                answers[name] = await admin.verify_state(name)
            except NetworkError:
                raise
            except AM2ZError as error:
                # One that cannot be read, by its name, say, keeps none of the others.
                answers[name] = Answer(done=False, text=error.message)

    with unwrapped():
        async with anyio.create_task_group() as tasks:
            for first in range(min(AT_ONCE, len(sessions))):
                tasks.start_soon(look, sessions[first::AT_ONCE])
    return [Spoilt(session=name, text=answers[name].text) for name in sessions if not answers[name].done]
