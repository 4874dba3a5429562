"""Jobs: searched for, told where they stand, ticked and acted upon, and submitted."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

from am2z_trio.admin import NotPermittedError, Permission
from am2z_trio.admin.exclusions import told
from am2z_trio.admin.query import Query, Text, parse
from am2z_trio.model.errors import AM2ZError, JobNotFoundError, ValidationError
from am2z_trio.model.limits import KIB, MAX_ANY_ID_BYTES
from am2z_trio.model.options import JobOptions
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.diagnosis import Diagnosis
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.search import Page as Found

from ..routes import Action, Page, Route
from ..view import View
from ..words import count, milliseconds
from .schedule_form import moment

TABS: Final = (
    ("", "All"),
    ("waiting", "Waiting"),
    ("active", "Active"),
    ("delayed", "Delayed"),
    ("completed", "Completed"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
)

MOST_PICKED: Final = 200
"""Jobs that are ticked, and acted upon one by one."""

NOTHING_FOUND: Final = Found(rows=[], looked_at=0, of=0)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a list, as it is told."""

    row: JobRow
    status: str
    stands: str
    """Where it stands: a part of a sentence."""
    code: str = ""
    """Of an error, set apart before that."""
    held: bool = False
    """It waits, and something holds it back."""
    age: int | None
    """Milliseconds since it came."""
    ran: int | None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One term of a filter."""

    name: str
    value: str
    without: str
    """The filter without it."""


# --- the list -------------------------------------------------------------------------------------


async def show(view: View) -> Response:
    """A page of jobs that a filter asks for."""
    typed, added = view.query("q"), view.query("add").strip()
    status = view.choice("status", [name for name, _ in TABS], "")
    wrong, asked = "", Query()
    try:
        asked = parse(f"{typed} {added}".strip())
    except ValidationError as error:
        wrong = str(error.context.get("rule") or error.message)
        asked = _readable(typed)
    query = _with_status(asked, status)
    began = time.perf_counter()
    page = NOTHING_FOUND
    if not wrong:
        page = await view.admin.search(
            str(query), limit=view.number("limit", 50, least=1), cursor=view.query("cursor", most=8_192)
        )
    took = time.perf_counter() - began
    # Why those wait that are seen, and no others.
    waits = [row.id for row in page.rows if row.status in ("waiting", "later")]
    why = await view.admin.explain_some(waits)
    now = view.admin.now()
    nothing = not page.rows and not page.cursor and not wrong
    text, (cancels, redrives) = str(asked), _offers(query)
    return view.render(
        "jobs/list.html",
        q=text,
        tab=status,
        tokens=tokens(asked),
        added=added if wrong else "",
        wrong=wrong,
        tabs=await _tabs(view, asked, status),
        lines=[line(row, now, why.get(row.id)) for row in page.rows],
        found=page,
        took=took,
        query=str(query),
        cancels=cancels,
        redrives=redrives,
        excluded=told(page.excluded),
        loosened={one.without: one for one in await view.admin.loosened(str(query))} if nothing else {},
        is_empty=nothing and not query.terms,
        paged=view.query("cursor", most=8_192) != "",
        is_reveal=not is_no_reveal(view),
    )


def is_no_reveal(view: View) -> bool:
    """Whether nothing is looked for by what jobs were given: that is written down each time."""
    # As they come: one that is too long is refused by the page itself.
    typed, added, group = (view.request.query_params.get(name, "") for name in ("q", "add", "group"))
    return not view.reveals(f"{typed} {added.strip()}".strip(), group)


def _readable(text: str) -> Query:
    try:
        return parse(text)
    except ValidationError:
        return Query()


def _with_status(asked: Query, status: str) -> Query:
    """What a tab shows: one that is chosen stands in the place of any status that the filter names."""
    if not status:
        return asked
    return Query((*(term for term in asked.terms if not _is_status(term)), Text("status", status)))


def _is_status(term: object) -> bool:
    return isinstance(term, Text) and term.field == "status" and not term.negated


LIVE: Final = ("waiting", "active", "delayed")
"""Of whatever has not ended: what is parked is delayed, too."""


def _offers(query: Query) -> tuple[str, str]:
    """For which jobs it is offered to cancel all that match, and to run all again or drop them: none without
    a filter, and no more than those with which it can be done."""
    named = {term.text for term in query.terms if isinstance(term, Text) and _is_status(term)}
    if not query.asks_for_something:
        return "", ""
    ended = named and not named & {*LIVE, "parked"}
    cancels = query if named else Query((*query.terms, *(Text("status", one) for one in LIVE)))
    redrives = "" if named and not named & {"failed", "dead"} else str(_with_status(query, "dead"))
    return "" if ended else str(cancels), redrives


async def _tabs(view: View, asked: Query, status: str) -> list[tuple[str, str, bool, int | None]]:
    counts = await view.admin.status_counts()
    kept = str(Query(tuple(term for term in asked.terms if not _is_status(term))))
    named = {term.text for term in asked.terms if isinstance(term, Text) and _is_status(term)}
    found = list[tuple[str, str, bool, int | None]]()
    for name, label in TABS:
        to = view.url("jobs", query={"q": kept, "status": name})
        here = name == status if status or not named else name in named
        found.append((label, to, here, getattr(counts, name) if name else None))
    return found


def tokens(asked: Query) -> list[Token]:
    """A filter, term by term."""
    found = list[Token]()
    for place, term in enumerate(asked.terms):
        told = str(Query((term,)))
        sign = "not " if term.negated else ""
        told = told.removeprefix("-")
        name, mark, value = "", "", told
        for each in (":", ">", "<"):
            before, found_mark, after = told.partition(each)
            if found_mark and before.replace(".", "").replace("-", "").replace("_", "").isalnum():
                name, mark, value = before, "" if each == ":" else f"{each} ", after
                break
        left = Query((*asked.terms[:place], *asked.terms[place + 1 :]))
        found.append(Token(name=f"{sign}{name}", value=f"{mark}{value}", without=str(left)))
    return found


def line(row: JobRow, now: int, why: Diagnosis | None = None) -> Line:
    """How a job is told in a list."""
    status = row.shown_as
    ran = row.ran
    if row.status == "active" and row.since:
        ran = max(0, now - row.since)
    code, stands, held = "", "", False
    if why is not None and why.status in ("waiting", "later"):
        stands, held = _why(why), why.status == "waiting" and why.blocked_by != ""
    elif row.status == "active":
        stands = _runs(row, now)
    elif status in ("failed", "dead"):
        code, stands = row.code, row.error or row.reason or "its record does not say why"
    elif status == "cancelled":
        stands = row.reason or "nobody says why"
    elif status == "completed":
        stands = "" if row.attempt <= 1 else f"at attempt {row.attempt:,}"
    return Line(
        row=row,
        status=status,
        stands=stands,
        code=code,
        held=held,
        age=max(0, now - row.at) if row.at else None,
        ran=ran,
    )


def _why(why: Diagnosis) -> str:
    gates = {gate.name: gate for gate in why.gates}
    gate = gates.get(why.blocked_by)
    if gate is None:
        return why.verdict.partition(": ")[2] or why.verdict
    line = gates.get("line") if why.status == "waiting" and why.blocked_by != "line" else None
    # How many more may start has been said: none.
    return gate.evidence if line is None else f"{gate.evidence}; {line.evidence.partition(', and ')[0]}"


def _runs(row: JobRow, now: int) -> str:
    parts = [f"on {row.node or 'a node that nobody knows'}"]
    if row.cancel:
        parts.append(f"is to end: {row.cancel}")
    elif row.away:
        parts.append("waits for jobs that it has called")
    if row.lost:
        parts.append(f"lost with its node {'once' if row.lost == 1 else f'{row.lost:,} times'} before")
    if row.progress:
        parts.append(f"{row.progress * 100:.0f} % done")
    if row.deadline and row.deadline > now:
        parts.append(f"deadline in {milliseconds(row.deadline - now)}")
    return ", ".join(parts)


# --- what is done to those that are ticked ----------------------------------------------------------

One = Callable[[str, str], Awaitable[Answer]]


async def act(view: View) -> Response:
    """Something is done to each job that was ticked: what became of them is told in one sentence."""
    action, ids = view.field("do", most=20), [*dict.fromkeys(view.fields("job"))]
    if len(ids) > MOST_PICKED:
        raise ValidationError(f"job: at most {MOST_PICKED} can be ticked, and {len(ids):,} are")
    admin = view.admin
    doing: Mapping[str, tuple[Permission, str, Callable[..., Awaitable[Answer]]]] = {
        "cancel": ("cancel", "cancelled", admin.cancel),
        "promote": ("retry", "put first", admin.promote),
        "retry": ("retry", "queued again", admin.retry),
        "drop": ("purge", "dropped", admin.drop),
    }
    if action not in doing:
        raise ValidationError(f"do: must be one of {', '.join(doing)}")
    _, told, one = doing[action]
    to = back(view)
    if not ids:
        return view.done(Answer(done=False, text="No job was ticked."), to)
    if action == "promote":
        # The first of them is to be the first.
        ids.reverse()
    answers = [await _kindly(one(id, reason=view.reason)) for id in ids]
    return view.done(summed(answers, told), to)


async def _kindly(doing: Awaitable[Answer]) -> Answer:
    """A job that has gone meanwhile is an answer, too; one that may not be acted upon is not hidden behind
    those that may."""
    try:
        return await doing
    except JobNotFoundError:
        return Answer(done=False, text="it is no longer kept")


def summed(answers: Sequence[Answer], told: str) -> Answer:
    """What became of several jobs."""
    done = [answer for answer in answers if answer.done]
    others = [answer.text for answer in answers if not answer.done]
    if len(answers) == 1:
        return answers[0]
    text = f"{count(len(done), 'job')} {told}"
    if others:
        text = f"{text}; {count(len(others), 'has', 'have')} moved on: {others[0]}"
    return Answer(done=bool(done), text=text)


def back(view: View, page: str = "jobs") -> str:
    """The list from which something was done, as it was filtered."""
    kept = {name: view.field(name, most=500) for name in ("q", "status", "group")}
    return view.url("dead" if view.field("from", most=10) == "dead" else page, query=kept)


# --- one more -------------------------------------------------------------------------------------


ENQUEUED: Final = {
    "processor": 512,
    "state": 2**20,
    "state_version": 40,
    "session": MAX_ANY_ID_BYTES,
    "delay": 40,
    "at": 40,
    "expires": 40,
    "priority": 40,
    "tags": 4 * KIB,
    "id": MAX_ANY_ID_BYTES,
}
"""The fields of the form, and characters that each may have."""


async def ask_enqueue(view: View) -> Response:
    """The form with which a job is submitted."""
    return await _form(view)


async def _form(view: View, wrong: str = "", **given: str) -> Response:
    names = await view.admin.processors()
    facts: dict[str, Any] = {**dict.fromkeys(ENQUEUED, ""), "processor": view.query("processor")}
    return view.render(
        "jobs/enqueue.html", status=400 if wrong else 200, names=names, wrong=wrong, given=facts | given
    )


async def enqueue(view: View) -> Response:
    """Submit it, or say what of it does not fit."""
    given = {name: view.field(name, most=most) for name, most in ENQUEUED.items()}
    given |= {name: text.strip() for name, text in given.items() if name != "state"}
    try:
        answer = await view.admin.enqueue(
            given["processor"],
            state_of(given["state"]) if given["state"].strip() else None,
            session=given["session"] or None,
            options=_options(view, given),
            job_id=given["id"] or None,
            state_version=_whole(given["state_version"]),
            reason=view.reason,
        )
    except NotPermittedError:
        raise
    except AM2ZError as error:
        if error.retryable:
            raise
        return await _form(view, error.message, **given)
    return view.done(answer, view.url("job", job=answer.job))


def _options(view: View, given: Mapping[str, str]) -> JobOptions | None:
    """How it is queued, as somebody has typed it. Raises `ValidationError` and `ConfigurationError`."""
    said: dict[str, Any] = {
        "delay": view.field_seconds("delay", 0.0) or None,
        "expires": view.field_seconds("expires", 0.0) or None,
        "priority": _whole(given["priority"]),
        "tags": given["tags"].split() or None,
    }
    if given["at"]:
        if said["delay"] is not None:
            raise ValidationError("at: goes without a delay", context={"field": "at"})
        said["delay"] = moment("at", given["at"])
    chosen = {name: value for name, value in said.items() if value is not None}
    return JobOptions(**chosen) if chosen else None


def _whole(text: str) -> Any:
    """A number as somebody types it; what is none is left to whoever says what it must be."""
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() else text or None


def state_of(text: str) -> Any:
    """Plain data from what somebody has typed. Raises `ValidationError` for what is no JSON."""
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValidationError(f"state: is no JSON: {error}", context={"field": "state"}) from None


ROUTES: list[Route] = [
    Page("jobs", show, live=["tabs", "rows"], every=2.0, follows=is_no_reveal),
    Action("jobs.act", act),
    Page("enqueue", ask_enqueue),
    Action("enqueue", enqueue),
]
