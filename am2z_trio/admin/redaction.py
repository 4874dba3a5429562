"""What of a payload may be seen: rules by path, before anything leaves the service.

A path is its keys with dots between them; `*` stands for one key or place in a list, `**` for any number of
them, none included: `order.country`, `items.*.price`, `**.password`. Rules that hide come before those that
show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec

from am2z_trio.model.checks import require, require_text
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.limits import KIB
from am2z_trio.model.views.actions import Payload

HIDDEN: Final = "[hidden]"
"""Stands where a rule hides something in what is shown otherwise."""

USUALLY_HIDDEN: Final = tuple(
    f"**.{name}"
    for name in ("password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential")
)
"""Names whose values nobody sees who does not reveal them. Case does not matter."""

OF_EVENTS: Final = ("event", "data")
"""Where rules find what a program has told with an event: `event.data.step`."""

MOST_VALUES: Final = 5_000
"""Of one payload that are looked at; of what is beyond them nothing is shown."""

MOST_DEEP: Final = 64
"""Containers within each other that are looked into."""

MOST_PARTS: Final = 32
"""Keys of a path of a rule."""

Path = tuple[str, ...]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of payloads to whom: by default none of it to those who may only look, and all of it, but
    for what is usually hidden, to those who reveal it."""

    show: tuple[str, ...] = ()
    """Paths that everybody sees who may look."""
    hide: tuple[str, ...] = USUALLY_HIDDEN
    """Paths that nobody sees, not even who reveals a payload."""

    def __post_init__(self) -> None:
        for field, paths in (("show", self.show), ("hide", self.hide)):
            require(isinstance(paths, tuple), f"redaction.{field}", paths, "must be a tuple of paths")
            for path in paths:
                text = require_text(f"redaction.{field}", path, most=KIB)
                parts = text.split(".")
                rule = f"must be 1 to {MOST_PARTS} keys with dots between them, at most one of them '**'"
                fits = all(parts) and len(parts) <= MOST_PARTS and parts.count("**") <= 1
                require(fits, f"redaction.{field}", path, rule)


class Redaction:
    """Applies rules to payloads, as plain data: dicts, lists, texts, numbers, bytes."""

    def __init__(self, rules: Rules | None = None) -> None:
        rules = rules or Rules()
        self._show = [_Pattern(path) for path in rules.show]
        self._hide = [_Pattern(path) for path in rules.hide]

    def shown(self, value: object, *, revealed: bool, path: Path = ()) -> Payload:
        """What is seen of a payload: all but what rules hide if it is `revealed`, else what rules show.
        `path`: where it stands for the rules."""
        if self.is_hidden(path):
            return Payload(hidden=1)
        walk = _Walk(self._show, self._hide, revealed)
        kept = walk.of(value, path, revealed or self.is_shown(path))
        return Payload(value=None if kept is _GONE else kept, hidden=walk.hidden, cut=walk.left <= 0)

    def hides_of(self, payload: Payload) -> bool:
        """Whether anything of a payload that is revealed is hidden, or may be, as not all was looked at."""
        return payload.hidden > 0 or (payload.cut and bool(self._hide))

    def is_hidden(self, path: Path) -> bool:
        """Whether nobody sees what stands at this path."""
        return _is_within(path, self._hide)

    def is_shown(self, path: Path) -> bool:
        """Whether everybody who may look sees what stands at this path."""
        return not self.is_hidden(path) and _is_within(path, self._show)

    def put_back(self, value: object, original: object) -> object:
        """What somebody has made of a payload that was shown, with what stands there for hidden values
        replaced by these: who changes a payload changes nothing that was kept from it. Raises
        `ValidationError` where it stands for nothing that there is."""
        return self._with_hidden(value, original, ())

    def _with_hidden(self, value: object, original: object, path: Path) -> object:
        if len(path) > MOST_DEEP:
            # Nothing of it was shown.
            return value
        if isinstance(value, str) and value == HIDDEN and any(one.fits(path) for one in self._hide):
            if original is NOTHING:
                rule = f"says {HIDDEN} where there was nothing: put the value there"
                raise ValidationError(f"state: {'.'.join(path)} {rule}", context={"field": "state"})
            return original
        if isinstance(value, dict):
            old = cast("dict[object, object]", original) if isinstance(original, dict) else {}
            return {
                key: self._with_hidden(each, old.get(key, NOTHING), (*path, _name(key)))
                for key, each in cast("dict[object, object]", value).items()
            }
        if isinstance(value, list):
            before = cast("Sequence[object]", original) if isinstance(original, list | tuple) else ()
            return [
                self._with_hidden(each, before[n] if n < len(before) else NOTHING, (*path, str(n)))
                for n, each in enumerate(cast("list[object]", value))
            ]
        return value


class _Nothing:
    """There is no such value."""


NOTHING: Final = _Nothing()


class _Gone:
    """Nothing of it is shown."""


_GONE: Final = _Gone()


class _Walk:
    def __init__(self, show: Sequence[_Pattern], hide: Sequence[_Pattern], revealed: bool) -> None:
        self._show = show
        self._hide = hide
        self._revealed = revealed
        self.hidden = 0
        self.left = MOST_VALUES

    def of(self, value: object, path: Path, shown: bool) -> object:
        self.left -= 1
        if self.left < 0 or len(path) > MOST_DEEP:
            self.left = 0
            return _GONE
        if any(pattern.fits(path) for pattern in self._hide):
            self.hidden += 1
            return HIDDEN if shown else _GONE
        shown = shown or any(pattern.fits(path) for pattern in self._show)
        if isinstance(value, dict):
            return self._of_dict(cast("dict[object, object]", value), path, shown)
        if isinstance(value, list | tuple):
            return self._of_list(cast("Sequence[object]", value), path, shown)
        if not shown:
            self.hidden += 1
            return _GONE
        return value

    def _of_dict(self, value: dict[object, object], path: Path, shown: bool) -> object:
        kept = dict[object, object]()
        for key, each in value.items():
            one = self.of(each, (*path, _name(key)), shown)
            if one is not _GONE:
                kept[key] = one
        return kept if shown or kept else _GONE

    def _of_list(self, value: Sequence[object], path: Path, shown: bool) -> object:
        kept = list[object]()
        for place, each in enumerate(value):
            one = self.of(each, (*path, str(place)), shown)
            if one is not _GONE:
                kept.append(one)
        return kept if shown or kept else _GONE


def _name(key: object) -> str:
    return (key if isinstance(key, str) else str(key)).casefold()


class _Pattern:
    """One path of a rule."""

    __slots__ = ("_after", "_before", "_deep")

    def __init__(self, path: str) -> None:
        parts = tuple(part.casefold() for part in path.split("."))
        self._deep = "**" in parts
        place = parts.index("**") if self._deep else len(parts)
        self._before, self._after = parts[:place], parts[place + 1 :]

    def fits(self, path: Path) -> bool:
        before, after, length = self._before, self._after, len(path)
        least = len(before) + len(after)
        if length < least or (not self._deep and length > least):
            return False
        return _same(path[: len(before)], before) and _same(path[length - len(after) :], after)


def _is_within(path: Path, patterns: Sequence[_Pattern]) -> bool:
    """Whether one of them is of the path, or of what that is in."""
    named = tuple(map(_name, path))
    return any(one.fits(named[:length]) for length in range(len(named) + 1) for one in patterns)


def _same(path: Path, parts: Path) -> bool:
    return all(part in ("*", key) for key, part in zip(path, parts, strict=True))
