"""Dead letters: by what has gone wrong, looked at one group at a time, run again, edited, or dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.responses import Response

from am2z_trio.admin.exclusions import Told
from am2z_trio.admin.exclusions import told as why
from am2z_trio.admin.query import Query, Text, parse
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.records import DEAD_COUNT, DEAD_TTL
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.search import Group
from am2z_trio.model.views.search import Page as Found

from ..routes import Page, Route
from ..view import View
from .jobs import is_no_reveal, tokens


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A group as it is told."""

    group: Group
    name: str
    """Of the exception that was raised, where one was; else the code."""
    code: str
    """Where it is not the name."""
    message: str
    query: str
    """What asks for its jobs and for no others."""
    group_row: JobRow
    """Of which queue they are, as rows have it."""
    spark: str
    """When they have failed: points of a line; empty where they failed in one moment."""


async def show(view: View) -> Response:
    """The groups that a filter leaves, and the letters of one of them."""
    typed, added = view.query("q"), view.query("add").strip()
    wrong, asked = "", Query()
    try:
        asked = parse(f"{typed} {added}".strip())
    except ValidationError as error:
        wrong = str(error.context.get("rule") or error.message)
    asked = Query(tuple(term for term in asked.terms if not _of_status(term)))
    dead = Query((*asked.terms, Text("status", "dead")))
    chosen = view.query("group")
    groups = [] if wrong else await view.admin.dead_groups(str(dead))
    shown = [_shown(group, asked) for group in groups]
    if not chosen and shown:
        # As long as nobody has chosen, those of the first one.
        chosen = shown[0].query
    page = None
    if chosen:
        page = await view.admin.search(
            chosen, limit=view.number("limit", 50, least=1), cursor=view.query("cursor", most=8_192)
        )
    excluded = list[Told]()
    if asked.terms and not groups and not wrong:
        excluded = why((await view.admin.search(str(dead), limit=1)).excluded)
    return view.render(
        "dead/list.html",
        excluded=excluded,
        q=str(asked),
        query=str(dead),
        tokens=tokens(asked),
        added=added if wrong else "",
        wrong=wrong,
        groups=shown,
        is_reveal=not is_no_reveal(view),
        total=sum(group.jobs for group in groups),
        chosen=chosen,
        title=next(
            (f"{one.group.queue} · {one.name or one.message}" for one in shown if one.query == chosen), ""
        ),
        told=told,
        usual_count=DEAD_COUNT,
        usual_ttl=DEAD_TTL,
        letters=page or Found(rows=[], looked_at=0, of=0),
        is_open=page is not None,
    )


def _of_status(term: object) -> bool:
    return isinstance(term, Text) and term.field == "status"


def _shown(group: Group, asked: Query) -> Shown:
    code, mark, message = group.kind.partition(": ")
    if not mark:
        code, message = "", group.kind
    name, raised = code, _RAISED.fullmatch(message)
    if raised:
        name, message = raised.groups()
    others = tuple(term for term in asked.terms if not (isinstance(term, Text) and term.field == "queue"))
    query = str(
        Query(
            (
                *others,
                Text("status", "dead"),
                Text("queue", group.queue),
                *((Text("kind", group.kind),) if group.kind else ()),
            )
        )
    )
    return Shown(
        group=group,
        name=name,
        code=code if name != code else "",
        message=message,
        query=query,
        group_row=JobRow(id="", status="failed", processor=group.queue),
        spark=_spark(group.times),
    )


def told(row: JobRow) -> str:
    """What has gone wrong with a letter, as it is told below the name of its exception."""
    return _SAID.sub("", row.error or row.reason, count=1)


_SAID: Final = re.compile(r"\A'[^']{1,200}' raised [A-Za-z_][A-Za-z0-9_.]*: ")
_RAISED: Final = re.compile(r"# raised ([A-Za-z_][A-Za-z0-9_.]*): (.*)", re.DOTALL)
"""How it is told which exception a processor has raised; `#` is its name."""


def _spark(times: Sequence[int]) -> str:
    """Ten heights on 96 by 24."""
    most = max(times, default=0)
    if not most or len(times) < 2:
        return ""
    step = 96 / (len(times) - 1)
    return " ".join(f"{place * step:.1f},{22 - 20 * n / most:.1f}" for place, n in enumerate(times))


ROUTES: list[Route] = [Page("dead", show, live=["groups"], every=10.0, follows=is_no_reveal)]
