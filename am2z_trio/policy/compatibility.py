"""Whether what a program has stored can be read, and written again, by what the program has become.

Two forms fit where every state of the older one is read by the newer one and loses nothing. Records may
contain themselves: a pair of them fits unless something in it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.checks import require
from am2z_trio.model.forms import FieldForm, Form, RecordForm, Scalar, StateForm, StatesSnapshot

Severity = Literal["error", "warning", "fine"]

LOWER: Final = ("gt", "ge", "min_length")
UPPER: Final = ("lt", "le", "max_length")


class StatesChange(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in which a program's states are not what they were."""

    processor: str
    path: str = "$"
    """Where in the state, as in `$.items[...].price`."""
    change: str
    """A stable word: `removed`, `renamed`, `added`, `required`, `retyped`, `narrowed`, `widened`, `version`,
    `migration`, `gone` or `new`."""
    severity: Severity
    """`error`: what was stored would not be read, or would lose something. `warning`: all of it is read, but
    programs of before may not read what this one writes, or there is more to look at."""
    text: str
    remedy: str = ""


class _Found(NamedTuple):
    severity: Severity
    change: str
    path: str
    text: str


@exact_arguments
def compare_states(old: StatesSnapshot, new: StatesSnapshot) -> list[StatesChange]:
    """What has changed from one snapshot to the other, by processor; none of severity `error` means that all
    states of the old program can be read, and written again, by the new one.

    What no form says is not compared: what a migration, a codec or a class's own checks do.
    """
    for field, value in (("old", old), ("new", new)):
        require(isinstance(value, StatesSnapshot), field, value, "must be a StatesSnapshot")
    found = list[StatesChange]()
    for name in sorted({*old.processors, *new.processors}):
        before, after = old.processors.get(name), new.processors.get(name)
        if before is None:
            text = "a new processor"
            found.append(StatesChange(processor=name, change="new", severity="fine", text=text))
        elif after is None:
            found.append(
                StatesChange(
                    processor=name,
                    change="gone",
                    severity="warning",
                    text="the processor is gone, or has another name",
                    remedy="keep it, without new jobs, until those that wait have ended",
                )
            )
        else:
            found += _of_processor(name, before, after)
    return found


def _of_processor(name: str, old: StateForm, new: StateForm) -> Iterator[StatesChange]:
    def change(found: _Found, remedy: str = "") -> StatesChange:
        severity, what, path, text = found
        return StatesChange(
            processor=name, path=path, change=what, severity=severity, text=text, remedy=remedy
        )

    if new.version < old.version:
        text = f"state_version went down from {old.version} to {new.version}: no state of before can be read"
        yield change(_Found("error", "version", "$", text), f"set state_version={old.version}, or more")
        return
    lost = [step for step in old.migrates if step < old.version and step not in new.migrates]
    if lost:
        text = f"there is no migration from version {_listed(lost)} any more"
        yield change(_Found("warning", "migration", "$", text), "see that no older state is stored (--redis)")
    if new.version > old.version:
        missing = [step for step in range(old.version, new.version) if step not in new.migrates]
        if missing:
            text = f"version {new.version} has no migration from {_listed(missing)}: states of it are refused"
            remedy = "give migrate={" + ", ".join(f"{step}: ..." for step in missing) + "}"
            yield change(_Found("error", "migration", "$", text), remedy)
        else:
            text = f"version {old.version} is brought up to {new.version} by migrate"
            yield change(_Found("fine", "version", "$", text))
        return
    raised = f"raise state_version to {old.version + 1}, and give migrate={{{old.version}: ...}}"
    for one in _Comparison(old, new).found():
        yield change(one, raised if one.severity == "error" else "")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (" and more" if len(numbers) > 20 else "")


Pair = tuple[str, str]


class _Comparison:
    """Two forms of one processor's states."""

    def __init__(self, old: StateForm, new: StateForm) -> None:
        self._old = old
        self._new = new
        self._fits = dict[Pair, bool]()
        """Of records. All that were met are taken to fit until one is found not to."""
        self._told: set[Pair] | None = None
        """Those that were told; `None` while it is not told, but settled which fit."""

    def found(self) -> list[_Found]:
        self._settle()
        self._told = set()
        return [*dict.fromkeys(self._forms(self._old.form, self._new.form, "$"))]

    def _settle(self) -> None:
        fits = self._fits
        self._ok(self._old.form, self._new.form)
        moved = True
        while moved:
            known, moved = len(fits), False
            for pair, ok in [*fits.items()]:
                if ok and _has_error(self._records(pair, "$")):
                    fits[pair], moved = False, True
            moved = moved or len(fits) > known

    def _ok(self, old: Form, new: Form) -> bool:
        told, self._told = self._told, None
        try:
            return not _has_error(self._forms(old, new, "$"))
        finally:
            self._told = told

    def _forms(self, old: Form, new: Form, path: str) -> Iterator[_Found]:
        if new.kind == "any" or old.kind == "any":
            if old.kind != new.kind and new.kind == "any":
                yield _Found("warning", "widened", path, f"may be anything now, and was {said(old)}")
            elif old.kind != new.kind:
                yield _Found("error", "narrowed", path, f"may only be {said(new)}, and was anything")
        elif "union" in (old.kind, new.kind):
            yield from self._unions(_members(old), _members(new), path)
        elif old.kind == "values" or new.kind == "values":
            yield from _values(old, new, path)
        elif old.kind == new.kind == "record":
            yield from self._pair((old.name, new.name), path)
        elif old.kind == "record" and new.kind == "dict":
            yield from self._kept_in_dict(self._old.records[old.name], old, new, path)
        elif old.kind == "tuple" and new.kind == "list" and not new.rules:
            yield _Found("warning", "widened", path, f"is {said(new)}, and was {said(old)}")
            for index, part in enumerate(old.of):
                yield from self._forms(part, new.of[0], f"{path}[{index}]")
        elif (old.kind, new.kind) == ("int", "float"):
            yield _Found("warning", "widened", path, "is a float, and was an int")
            yield from _rules(old, new, path)
        elif old.kind != new.kind or len(old.of) != len(new.of) or old.name != new.name:
            yield _Found("error", "retyped", path, f"is {said(new)}, and was {said(old)}")
        else:
            yield from _rules(old, new, path)
            for index, (before, after) in enumerate(zip(old.of, new.of, strict=True)):
                yield from self._forms(before, after, path + _step(old, index))

    def _unions(self, olds: Sequence[Form], news: Sequence[Form], path: str) -> Iterator[_Found]:
        used = list[Form]()
        for old in olds:
            fitting = [new for new in news if self._ok(old, new)]
            chosen = self._nearest(old, fitting or news, fits=bool(fitting))
            if chosen is None:
                yield _Found("error", "narrowed", path, f"may not be {said(old)} any more")
                continue
            used.append(chosen)
            yield from self._forms(old, chosen, path)
        for new in news:
            if new not in used:
                yield _Found("warning", "widened", path, f"may be {said(new)}, too")

    def _nearest(self, old: Form, news: Sequence[Form], *, fits: bool) -> Form | None:
        """Which of them it is now: the same, or one of the same tag or name; else any of its kind."""

        def tag(form: Form, records: Mapping[str, RecordForm]) -> object:
            return records[form.name].tag if form.kind == "record" else None

        tagged = tag(old, self._old.records)
        likely = [
            new for new in news if fits or (new.kind == old.kind and tag(new, self._new.records) == tagged)
        ]
        return min(
            likely,
            key=lambda new: (new != old, tag(new, self._new.records) != tagged, new.kind != old.kind),
            default=None,
        )

    def _pair(self, pair: Pair, path: str) -> Iterator[_Found]:
        if self._told is None:
            if not self._fits.setdefault(pair, True):
                yield _Found("error", "retyped", path, "")
        elif pair not in self._told:
            self._told.add(pair)
            yield from self._records(pair, path)

    def _records(self, pair: Pair, path: str) -> Iterator[_Found]:
        old, new = self._old.records[pair[0]], self._new.records[pair[1]]
        if old.by_place != new.by_place:
            before, after = ("a list", "a map") if old.by_place else ("a map", "a list")
            yield _Found("error", "retyped", path, f"is stored as {after}, and was as {before}")
            return
        if (old.tag_field, old.tag) != (new.tag_field, new.tag):
            yield _Found("error", "retyped", path, f"has {_tag(new)}, and had {_tag(old)}")
        if old.keeps_unknown and not new.keeps_unknown:
            yield _Found("error", "narrowed", path, "drops fields that it does not know, and kept them")
        if old.by_place:
            yield from self._by_place(old.fields, new.fields, path)
        else:
            yield from self._by_name(old, new, path)

    def _by_name(self, old: RecordForm, new: RecordForm, path: str) -> Iterator[_Found]:
        before = {field.name: field for field in old.fields}
        after = {field.name: field for field in new.fields}
        added = {name: field for name, field in after.items() if name not in before}
        for name, field in before.items():
            if name in after:
                yield from self._field(field, after[name], f"{path}.{name}")
                continue
            fitting = [one for one in added.values() if self._ok(field.form, one.form)]
            heirs = [one for one in fitting if one.form == field.form] or fitting
            if len(heirs) == 1:
                added.pop(heirs[0].name)
                text = f"was removed, and {heirs[0].name!r} of the same type is new: it was renamed, it seems"
                yield _Found("error", "renamed", f"{path}.{name}", text)
            elif new.keeps_unknown:
                text = "was removed; what is stored of it stays there, unread"
                yield _Found("warning", "removed", f"{path}.{name}", text)
            else:
                yield _Found(
                    "error", "removed", f"{path}.{name}", "was removed: what is stored would be lost"
                )
        for name, field in added.items():
            yield _added(field, f"{path}.{name}")
            if old.keeps_unknown and not field.required:
                text = "may be among the fields that were kept unknown, as something else"
                yield _Found("warning", "added", f"{path}.{name}", text)

    def _by_place(self, old: Sequence[FieldForm], new: Sequence[FieldForm], path: str) -> Iterator[_Found]:
        names = {field.name for field in old}
        for before, after in zip(old, new, strict=False):
            if before.name != after.name and after.name in names:
                text = f"stands where {before.name!r} stood: fields of this type are known by their places"
                yield _Found("error", "retyped", f"{path}.{after.name}", text)
            elif before.name != after.name:
                text = f"is called {after.name!r} now: it is stored by its place"
                yield _Found("fine", "renamed", f"{path}.{before.name}", text)
            yield from self._field(before, after, f"{path}.{after.name}")
        for field in old[len(new) :]:
            text = "was removed: what is stored would be lost"
            yield _Found("error", "removed", f"{path}.{field.name}", text)
        for field in new[len(old) :]:
            yield _added(field, f"{path}.{field.name}")

    def _field(self, old: FieldForm, new: FieldForm, path: str) -> Iterator[_Found]:
        if new.required and not old.required:
            yield _Found("error", "required", path, "has no default any more: it is missing where it had one")
        yield from self._forms(old.form, new.form, path)

    def _kept_in_dict(self, record: RecordForm, old: Form, new: Form, path: str) -> Iterator[_Found]:
        key, value = new.of
        keyed = key.kind == "any" or (key.kind == "str" and not key.rules)
        open_ = record.keeps_unknown or record.tag is not None
        if record.by_place or not keyed or new.rules or (open_ and value.kind != "any"):
            yield _Found("error", "retyped", path, f"is {said(new)}, and was {said(old)}")
            return
        yield _Found("warning", "widened", path, f"is {said(new)}, and was {said(old)}")
        if value.kind != "any":
            for field in record.fields:
                yield from self._forms(field.form, value, f"{path}.{field.name}")


def _has_error(found: Iterator[_Found]) -> bool:
    # All of it is looked at: every pair of records in it has to be met.
    return "error" in [one.severity for one in found]


def _members(form: Form) -> tuple[Form, ...]:
    return form.of if form.kind == "union" else (form,)


def _step(form: Form, index: int) -> str:
    if form.kind == "dict":
        return ".key" if index == 0 else "[...]"
    return f"[{index}]" if form.kind == "tuple" else "[...]"


def _tag(record: RecordForm) -> str:
    return "no tag" if record.tag is None else f"the tag {record.tag_field}={record.tag!r}"


def _added(field: FieldForm, path: str) -> _Found:
    if field.required:
        return _Found("error", "required", path, "is new and has no default: no stored state has it")
    return _Found("fine", "added", path, "is new and has a default")


def _values(old: Form, new: Form, path: str) -> Iterator[_Found]:
    if old.kind == new.kind:
        gone, more = _without(old.values, new.values), _without(new.values, old.values)
        if gone:
            yield _Found("error", "narrowed", path, f"may not be {_quoted(gone)} any more")
        if more:
            yield _Found("warning", "widened", path, f"may be {_quoted(more)}, too")
    elif new.kind == "values" and old.kind in ("int", "str", "null"):
        kinds = {type(one).__name__ for one in new.values}
        what = "narrowed" if old.kind in kinds else "retyped"
        yield _Found("error", what, path, f"may only be {said(new)}, and was {said(old)}")
    elif old.kind == "values" and not new.rules and all(_kind(one) == new.kind for one in old.values):
        yield _Found("warning", "widened", path, f"may be any {new.kind}, and was {said(old)}")
    else:
        yield _Found("error", "retyped", path, f"is {said(new)}, and was {said(old)}")


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _without(some: Sequence[int | str | None], others: Sequence[int | str | None]) -> list[int | str | None]:
    return [one for one in some if one not in others]


def _quoted(values: Sequence[object]) -> str:
    return ", ".join(map(repr, values[:10])) + (" and others" if len(values) > 10 else "")


def _rules(old: Form, new: Form, path: str) -> Iterator[_Found]:
    if old.kind == "class" and old.rules != new.rules:
        yield _Found("error", "retyped", path, f"{old.name} is kept in another form: its schema has changed")
        return
    for rule, limit in new.rules.items():
        before = old.rules.get(rule)
        if before != limit or type(before) is not type(limit):
            if not _is_looser(rule, before, limit):
                was = "had no such rule" if before is None else f"was {rule}={before!r}"
                yield _Found("error", "narrowed", path, f"must be {rule}={limit!r}, and {was}")
            else:
                yield _Found(
                    "warning", "widened", path, f"may be {rule}={limit!r}, and was {rule}={before!r}"
                )
    for rule, limit in old.rules.items():
        if rule not in new.rules:
            yield _Found("warning", "widened", path, f"need not be {rule}={limit!r} any more")


def _is_looser(rule: str, before: Scalar, after: Scalar) -> bool:
    if isinstance(before, bool | str | None) or isinstance(after, bool | str | None):
        return False
    return (rule in LOWER and after < before) or (rule in UPPER and after > before)


def said(form: Form) -> str:
    """A form as a person would write it: `list[int]`, `Order`, `'a' | 'b'`, `float | null`."""
    if form.kind == "values":
        return " | ".join(map(repr, form.values[:10])) + (" | ..." if len(form.values) > 10 else "")
    if form.kind == "union":
        return " | ".join(map(said, form.of))
    if form.name:
        return form.name
    return f"{form.kind}[{', '.join(map(said, form.of))}]" if form.of else form.kind
