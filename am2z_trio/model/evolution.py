"""The version of a state's form: how it is written down beside the state, and how an older one is brought up.

A state of version 1 is its bytes alone. From version 2 on they are wrapped in an extension of msgpack that
says which, so that a state carries it wherever it goes: as a job's input and result, in a session's storage
and its history, in schedules and dead letters. No store looks into it.

A class has one version in a process, whichever of its processors says so; what has no class of its own, such
as `dict`, has that of the processor alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import msgspec

from .callables import gives_coroutine, require_function
from .checks import require, require_count
from .errors import AM2ZError, ConfigurationError, ValidationError
from .telling import described

EXTENSION: Final = 83
"""The code of our extension of msgpack."""

MOST_VERSIONS: Final = 65_535
"""Two bytes say which."""

LABEL_BYTES: Final = 8
"""What a label takes at most."""

_HEADS: Final = {0xC7: 2, 0xC8: 3, 0xC9: 5}
"""Of extensions of any length: where the code is. Those of a fixed one have it in their second byte."""
_FIXED: Final = frozenset(range(0xD4, 0xD9))

Migration = Callable[[Any], Any]
"""From the form of one version, as plain data (dicts, lists, texts, numbers), to that of the next."""


class AtVersion:
    """What `at_version` makes."""

    __slots__ = ("form", "version")

    def __init__(self, version: int, form: Any) -> None:
        self.version = require_count("at_version.version", version, most=MOST_VERSIONS)
        self.form = form

    def __repr__(self) -> str:
        return f"at_version({self.version}, {self.form!r})"


def at_version(version: int, form: Any) -> Any:
    """Plain data that is a state of this version of its form, for who knows a processor by its name alone:
    `runtime.submit("price", at_version(2, {"total": 3}))`, wherever a job is given a state. Without it plain
    data is of version 1, or where the processor is registered, of the version that it has there.
    `ConfigurationError` for a version that is none."""
    return AtVersion(version, form)


def of_version(state: Any, version: object) -> Any:
    """The state, of this version of its form, where one is named. `ConfigurationError` for a version that is
    none, or one of no state."""
    if version is None:
        return state
    number = require_count("state_version", version, most=MOST_VERSIONS)
    require(state is not None, "state_version", number, "goes with a state: a stored one says its own")
    return AtVersion(number, state)


class StateVersionError(AM2ZError):
    """A state is of a newer version (`context["version"]`) than this program knows (`context["known"]`). A
    job that meets one is left to nodes that know it, and uses no attempt."""

    code = "STATE_VERSION"
    category = "state"
    retryable = True


class UnknownFieldsError(AM2ZError):
    """A stored state has fields (`context["fields"]`) that the type it is read as does not know: they would
    be lost if it were written again. Nothing was written."""

    code = "UNKNOWN_FIELDS"
    category = "state"


class StateMigrationError(ValidationError):
    """A state of an older version could not be brought up to the one that the program writes:
    `context["from"]` and `context["to"]` say at which step."""

    code = "STATE_MIGRATION"


class Evolution:
    """Which version of its form a state is written in, and how older ones are brought up to it."""

    __slots__ = ("steps", "version")

    def __init__(self, version: int = 1, steps: Mapping[int, Migration] | None = None) -> None:
        self.version = version
        self.steps = dict(steps or {})

    def __repr__(self) -> str:
        return f"<version {self.version}, migrating from {sorted(self.steps) or 'none'}>"

    def bring_up(self, form: Any, version: int, what: str) -> Any:
        """The form of the version that this program writes, of one of an older version; `what` it is of."""
        for old in range(version, self.version):
            step = self.steps.get(old)
            context = {"from": old, "to": old + 1}
            if step is None:
                raise StateMigrationError(
                    f"a state of {what} is of version {version}, and migrate has no way from {old} on",
                    context=context,
                )
            told = f"the migration of {what} from version {old} to {old + 1}"
            try:
                form = step(form)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                raise StateMigrationError(
                    f"{told} raised {described(error)}", context=context, cause=error
                ) from error
            if form is None:
                raise StateMigrationError(f"{told} returned None: it must return the form", context=context)
            if isawaitable(form):
                getattr(form, "close", lambda: None)()
                raise StateMigrationError(f"{told} must be a plain function", context=context)
        return form


FIRST: Final = Evolution()
"""Of what has never changed."""

_of_class: Final = WeakKeyDictionary[type, tuple[str, Evolution]]()
"""With the name of the processor that has said so last."""


def evolution(name: str, version: object, migrate: object, kind: Any) -> Evolution | None:
    """What a processor of this name says of its states, which are of this type; `None`: nothing."""
    number = require_count("Processor.state_version", version, most=MOST_VERSIONS)
    if migrate is None:
        return None if number == 1 else _declared(name, kind, Evolution(number))
    field = "Processor.migrate"
    require(isinstance(migrate, Mapping), field, migrate, "must be functions by the version they begin at")
    steps = dict(cast("Mapping[Any, Any]", migrate))
    for old, step in steps.items():
        rule = (
            "must begin at a version below state_version" if number > 1 else "needs a state_version above 1"
        )
        require(type(old) is int and 1 <= old < number, field, old, rule)
        require_function(f"{field}[{old}]", step, "(form)")
        require(not gives_coroutine(step), f"{field}[{old}]", step, "must be a plain function")
    gaps = [old for old in range(min(steps, default=number), number) if old not in steps]
    require(not gaps, field, sorted(steps), f"must lead up to version {number}, and has no way from {gaps}")
    return _declared(name, kind, Evolution(number, steps))


def _declared(name: str, kind: Any, said: Evolution) -> Evolution:
    """The evolution of a type, after a processor has said so; one that is defined anew says it anew."""
    if not _is_own(kind):
        return said
    other, known = _of_class.get(kind, (name, said))
    if other != name and known.version != said.version:
        raise ConfigurationError(
            f"processor {name!r} says that {kind.__qualname__} is of version {said.version}, and {other!r} "
            f"that it is of version {known.version}: a class has one version (state_version)",
            context={"processor": name, "other": other},
        )
    if not said.steps and known.version == said.version:
        said = known
    _of_class[kind] = name, said
    return said


def known_of(kind: Any) -> Evolution:
    """What is known of a type; of most, nothing."""
    return _of_class[kind][1] if _is_own(kind) and kind in _of_class else FIRST


def _is_own(kind: Any) -> bool:
    """Whether it is a class that somebody has written for what it is."""
    return isinstance(kind, type) and kind.__module__ not in ("builtins", "typing")


# --- the label --------------------------------------------------------------------------------------


def labelled(payload: bytes, version: int) -> bytes:
    """A state with its version."""
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(EXTENSION, version.to_bytes(2, "big") + payload))


def unlabelled(data: bytes | msgspec.Raw) -> tuple[int, memoryview] | None:
    """The version and the state without it; `None` of what has no label: it is of version 1."""
    view = memoryview(data)
    if not view:
        return None
    first = view[0]
    at = _HEADS.get(first, 1 if first in _FIXED else 0)
    if not at or len(view) < at + 4 or view[at] != EXTENSION:
        return None
    return int.from_bytes(view[at + 1 : at + 3], "big"), view[at + 3 :]


def newer(version: int, known: int, what: str) -> StateVersionError:
    """The error of a state that is for a newer program."""
    return StateVersionError(
        f"a state of version {version} is for a newer program: this one knows version {known} of {what}",
        context={"version": version, "known": known},
    )
