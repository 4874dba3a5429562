"""What is typed of a schedule: fields as texts, from an address or a form, and what they are read as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from am2z_trio.engine.schedules.plan import Schedule, ScheduleTerms
from am2z_trio.model.errors import AM2ZError, ConfigurationError, ValidationError
from am2z_trio.model.evolution import of_version
from am2z_trio.model.limits import KIB
from am2z_trio.model.records.schedules import Missed, Overlap
from am2z_trio.model.schedules import ScheduleView
from am2z_trio.policy.cron import Timing, read
from am2z_trio.policy.spans import seconds_of

TEXTS: Final[Mapping[str, str]] = {
    "when": "",
    "tz": "UTC",
    "overlap": "skip",
    "missed": "once",
    "jitter": "0 s",
    "missed_after": "60 s",
    "catch_up": "100",
    "limit": "",
    "start": "",
    "end": "",
    "history": "100",
    "pause_on_failure": "",
    "note": "",
}
"""The fields of when it comes and what becomes of its times, as a new one has them."""

OWN: Final[Mapping[str, str]] = {
    "id": "",
    "processor": "",
    "session": "",
    "state": "{}",
    "state_version": "",
    "timeout": "",
}
"""Those of what it runs, which a new one needs alone."""

OVERLAPS: Final = {
    "skip": "skip this firing",
    "queue": "queue one behind it",
    "cancel": "cancel it, then start",
    "allow": "run both",
}
MISSED: Final = {
    "once": "run once for all of them",
    "all": "run each of them",
    "skip": "skip them",
}

_FIELDS: Final = {"Cron.text": "when", "Every.seconds": "when", "Every.phase": "when", "Cron.tz": "tz"}
"""Which field is meant, where an error names another one."""

Texts = dict[str, str]


def texts_of(view: ScheduleView) -> Texts:
    """What stands in the fields for a schedule as it is."""
    return {
        "when": view.when,
        "tz": view.tz,
        "overlap": view.overlap,
        "missed": view.missed,
        "jitter": f"{view.jitter:.12g} s",
        "missed_after": f"{view.missed_after:.12g} s",
        "catch_up": str(view.catch_up),
        "limit": "" if view.limit is None else str(view.limit),
        "start": _moment_text(view.start),
        "end": _moment_text(view.end),
        "history": str(view.history),
        "pause_on_failure": "1" if view.pause_on_failure else "",
        "note": view.note,
    }


def typed(ask: Callable[..., str], default: Mapping[str, str], *, sent: bool) -> Texts:
    """The fields as somebody has typed them. Of a form that was `sent`, a box that is not there is empty."""
    boxes = {"pause_on_failure"} if sent else set[str]()
    most = {"state": 256 * KIB}
    return {
        name: ask(name, "" if name in boxes else text, most=most.get(name, 2 * KIB))
        for name, text in default.items()
    }


def timing_of(texts: Texts) -> Timing:
    """When it comes. Raises `ConfigurationError`, which names field and rule."""
    return read(texts["when"], texts["tz"])


def terms_of(texts: Texts) -> ScheduleTerms:
    """All that says when it comes and what becomes of its times. Raises the same."""
    # Words that are none of those that there are, the schedule itself refuses.
    return {
        "when": timing_of(texts),
        "overlap": cast("Overlap", texts["overlap"]),
        "missed": cast("Missed", texts["missed"]),
        "jitter": _seconds("jitter", texts["jitter"]),
        "missed_after": _seconds("missed_after", texts["missed_after"]),
        "catch_up": _count("catch_up", texts["catch_up"]),
        "limit": _count("limit", texts["limit"]) if texts["limit"].strip() else None,
        "start": _moment("start", texts["start"]),
        "end": _moment("end", texts["end"]),
        "history": _count("history", texts["history"]),
        "pause_on_failure": bool(texts["pause_on_failure"]),
        "note": texts["note"],
    }


def plan_of(texts: Texts) -> Schedule:
    """A new one. Raises the same."""
    state = texts["state"].strip()
    timeout = texts["timeout"].strip()
    try:
        value = None if not state else msgspec.json.decode(state)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise ValidationError(
            f"state must be JSON: {error}", context={"field": "state", "rule": f"must be JSON: {error}"}
        ) from None
    if not texts["processor"]:
        raise ValidationError(
            "processor must be named", context={"field": "processor", "rule": "must be a processor's name"}
        )
    version = texts["state_version"]
    return Schedule(
        texts["id"],
        texts["processor"],
        state=of_version(value, _count("state_version", version) if version.strip() else None),
        session=texts["session"] or None,
        timeout=_seconds("timeout", timeout) if timeout else None,
        **terms_of(texts),
    )


def wrong_of(error: AM2ZError) -> tuple[str, str]:
    """Which field is wrong, and by which rule; no field where it is not about one of them."""
    field = str(error.context.get("field", ""))
    name = _FIELDS.get(field, field.removeprefix("Schedule."))
    known = name in TEXTS or name in OWN
    return name if known else "", str(error.context.get("rule", "")) if known else error.message


def _seconds(field: str, text: str) -> float:
    plain = text.strip()
    found = seconds_of(plain if plain[-1:].isalpha() else f"{plain}s")
    if found is None:
        raise _refused(field, text, "must be a length of time, such as 30 s, 5m or 1.5 h")
    return found


def moment(field: str, text: str) -> datetime:
    """A moment as somebody types it, or a browser's field has it: in UTC unless it names another zone."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _refused(field, text, "must be a time such as 2026-11-01T00:00, in UTC") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _moment(field: str, text: str) -> datetime | None:
    return moment(field, text) if text.strip() else None


def _moment_text(moment: datetime | None) -> str:
    """To the last digit that it has, so that an edit of something else leaves it as it is."""
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _count(field: str, text: str) -> int:
    plain = text.strip()
    if not (plain.isascii() and plain.isdigit() and len(plain) < 16):
        raise _refused(field, text, "must be a whole number")
    return int(plain)


def _refused(field: str, text: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{field}={text[:100]!r}: {rule}", context={"field": field, "rule": rule})
