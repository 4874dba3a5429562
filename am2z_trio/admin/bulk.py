"""Actions on all jobs that a query asks for: steps of at most 500, written down one by one, which any process
carries on.

What a step has done is written with the number that follows the last one, so of two that carry an action on
by mistake one is told, and nothing is counted twice; what both have done is done once, as every action here
is on a job that has moved on already. An action looks through all places until it finds nothing more to do
there, at most `PASSES` times, as what it acts on leaves its place. It leaves alone what has come since it
began, and acts on no more jobs than was agreed to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from am2z_trio.model.telling import cut
from am2z_trio.model.views.bulks import BulkAction, BulkRecord, BulkState, Failure
from am2z_trio.model.views.jobs import JobRow

from .principals import Permission
from .query import MAX_CHARACTERS, Query, Text

STEP: Final = 500
"""Jobs that are acted upon, at most, before that is written down."""

FAILURES: Final = 100
"""Of which it is told what has failed; of the others, how many there were."""

PASSES: Final = 10

LEASE_MS: Final = 30_000
"""How long nobody else carries it on when nothing is heard of who does."""

ASKED_FROM: Final = 100
"""Jobs, or sessions, from which on whoever begins it has to say how many there are."""

NEEDS: Final[dict[BulkAction, Permission]] = {
    "cancel": "cancel",
    "retry": "retry",
    "drop": "purge",
    "stop": "stop_session",
}

ACTED_ON: Final[dict[str, tuple[str, ...]]] = {
    "cancel": ("waiting", "delayed", "active"),
    "retry": ("dead",),
    "drop": ("dead",),
}
"""Statuses of the jobs that an action is done to, where the query names none."""


def meant(action: BulkAction, asked: Query) -> Query:
    """What the query asks for, of the statuses in which something can be done: others are not counted,
    however many are kept."""
    if action == "stop" or asked.wanted("status"):
        return asked
    return Query((*asked.terms, *(Text("status", status) for status in ACTED_ON[action])))


def recorded(action: BulkAction, asked: Query) -> str:
    """The query as it is told and written down: with those statuses, where they fit into what can be read."""
    whole = str(meant(action, asked))
    return whole if len(whole) <= MAX_CHARACTERS else str(asked)


Became = Literal["done", "skipped", "failed"]


class Step(NamedTuple):
    """What a step has come to."""

    became: Sequence[tuple[str, Became, str]]
    """Of each job: its id, what became of it, and why, where it has failed."""
    cursor: str
    """Where the next one begins; empty: all places have been looked through."""
    looked_at: int
    of: int


def is_meant(record: BulkRecord, row: JobRow) -> bool:
    """Whether the action is for this job: not for one that came since it began, for one that is being
    cancelled already, nor for a dead letter that has failed again since it was retried."""
    if record.action == "cancel":
        return row.at <= record.began and not row.cancel
    return row.at <= record.began and row.ended <= record.began


def step_size(record: BulkRecord) -> int:
    """Jobs that the next step acts upon, at most."""
    left = record.most - record.done
    if record.probe == "asked":
        return min(1, left)
    if record.rate is not None:
        # A second's worth.
        return max(0, min(STEP, left, max(1, int(record.rate))))
    return max(0, min(STEP, left))


def pause_after(record: BulkRecord, acted: int) -> float:
    """Seconds to the next step."""
    return 0.0 if record.rate is None else acted / record.rate


def after_step(record: BulkRecord, step: Step, now: int) -> BulkRecord:
    """The record when this step has been done."""
    done = sum(became == "done" for _, became, _ in step.became)
    failures = [Failure(id, cut(why, 200)) for id, became, why in step.became if became == "failed"]
    acted = record.acted + done
    changed = msgspec.structs.replace(
        record,
        done=record.done + done,
        skipped=record.skipped + sum(became == "skipped" for _, became, _ in step.became),
        failed=record.failed + len(failures),
        failures=(*record.failures, *failures)[:FAILURES],
        acted=acted,
        cursor=step.cursor,
        looked_at=step.looked_at,
        of=step.of,
        changed=now,
    )
    if record.probe == "asked" and done:
        (probed,) = [id for id, became, _ in step.became if became == "done"]
        return msgspec.structs.replace(changed, probe="waits", probed=probed)
    if changed.done >= changed.most:
        return ended(changed, "done", now)
    if step.cursor:
        return changed
    passes = record.passes + 1
    changed = msgspec.structs.replace(changed, passes=passes, acted=0)
    return ended(changed, "done", now) if not acted or passes >= PASSES else changed


def after_probe(record: BulkRecord, row: JobRow | None, now: int) -> BulkRecord | None:
    """The record when the job that was tried first has ended, or is gone; `None`: it has not yet."""
    if row is not None and row.status in ("waiting", "later", "active"):
        return None
    if row is None or row.status == "completed":
        return msgspec.structs.replace(record, probe="passed", changed=now)
    why = f"{record.probed}, which was tried first, was {row.status} again"
    return ended(record, "stopped", now, f"{why}: {row.error}" if row.error else why)


def ended(record: BulkRecord, state: BulkState, now: int, note: str = "") -> BulkRecord:
    """The record of an action that goes on no more."""
    return msgspec.structs.replace(
        record, state=state, note=cut(note, 1_000), carrier="", until=0, cursor="", changed=now
    )


def carried(record: BulkRecord, carrier: str, now: int) -> BulkRecord:
    """The record of an action that is carried on by somebody."""
    return msgspec.structs.replace(record, carrier=carrier, until=now + LEASE_MS, changed=now)


def is_anothers(record: BulkRecord, carrier: str, now: int) -> bool:
    """Whether somebody else carries it on."""
    return record.carrier not in ("", carrier) and record.until > now


def told(action: BulkAction, matched: int, complete: bool) -> str:
    """What an action would be done to, as a sentence."""
    some = f"{matched:,}" if complete else f"At least {matched:,}"
    what = "session" if action == "stop" else "job"
    match = f"{what} matches" if matched == 1 else f"{what}s match"
    return f"{some} {match} now. Nothing was changed. Action: {action}, in steps of at most {STEP}"
