"""What forms states have, written down: to be kept beside a program, and compared with what it becomes.

A form says what is stored, in words of our own; nothing in it is code. `form_of` makes one of a type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from .errors import ValidationError
from .evolution import MOST_VERSIONS
from .telling import text_of

MOST_BYTES: Final = 8_000_000
"""Of a snapshot that is read."""

MOST_DEPTH: Final = 100
"""Of forms within forms."""

Scalar = int | str | float | bool | None
"""What a value of an enum or a rule is."""

Kind = Literal[
    "any",
    "null",
    "bool",
    "int",
    "float",
    "str",
    "bytes",
    "datetime",
    "date",
    "time",
    "timedelta",
    "uuid",
    "decimal",
    "ext",
    "values",
    "list",
    "set",
    "tuple",
    "dict",
    "union",
    "record",
    "class",
]
"""`values`: one of these, of an enum or a Literal. `record`: it declares its fields. `class`: msgpack has no
word for it, and a codec says how it is kept."""


class Form(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The form of one part of a state."""

    kind: Kind
    name: str = ""
    """Of a record: under which it stands in `StateForm.records`. Of a class, its own."""
    of: tuple[Form, ...] = ()
    """What is in it: members of a union, items of a tuple, the item of a list or set, key and value of a
    dict."""
    values: tuple[int | str | None, ...] = ()
    rules: dict[str, Scalar] = {}
    """What a value must fulfil, such as `{"ge": 0}`."""


class FieldForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One field of a record."""

    name: str
    """As it is stored."""
    form: Form
    required: bool = False
    """It has no default."""


class RecordForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What declares its fields: a Struct, a dataclass, an attrs class, a TypedDict, a NamedTuple or a
    pydantic model."""

    fields: tuple[FieldForm, ...]
    by_place: bool = False
    """Stored as a list: fields are known by their places."""
    tag_field: str | None = None
    tag: int | str | None = None
    keeps_unknown: bool = False
    """It keeps fields that it does not know."""


class StateForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The states of one processor."""

    type: str
    """The name of their type, for a person."""
    version: int
    migrates: tuple[int, ...]
    """Versions from which there is a step to the next one."""
    form: Form
    records: dict[str, RecordForm]


class StatesSnapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The forms of a program's states, by processor: `snapshot_states` makes one, `compare_states` compares
    two. `text` and `read` are how it is kept: JSON in one order, a line a thing, to be committed."""

    am2z_states: Literal[1]
    """The version of this notation."""
    processors: dict[str, StateForm]

    def text(self) -> str:
        """As it is written to a file; equal snapshots are equal texts."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1).decode() + "\n"

    @classmethod
    def read(cls, data: bytes | str) -> StatesSnapshot:
        """Of what `text` gave. Anything else is one `ValidationError` that says why."""
        size = len(data)
        if size > MOST_BYTES:
            raise ValidationError(f"a snapshot of states has at most {MOST_BYTES:,} bytes, and this {size:,}")
        try:
            found = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ValidationError(f"this is no snapshot of states: {text_of(error)}", cause=error) from None
        for name, state in found.processors.items():
            if not all(1 <= one <= MOST_VERSIONS for one in (state.version, *state.migrates)):
                raise ValidationError(f"this is no snapshot of states: {name!r} has a version that is none")
            for part in _parts_of(state):
                why = _why_odd(part, state.records)
                if why:
                    raise ValidationError(f"this is no snapshot of states: in {name!r}, {why}")
        return found


def _parts_of(state: StateForm) -> Iterator[Form]:
    whole = [state.form, *(field.form for one in state.records.values() for field in one.fields)]
    level, depth = whole, 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValidationError(f"this is no snapshot of states: forms are nested deeper than {MOST_DEPTH}")
        yield from level
        level = [part for one in level for part in one.of]


_PARTS: Final[dict[str, int]] = {"list": 1, "set": 1, "dict": 2}


def _why_odd(form: Form, records: Mapping[str, Any]) -> str:
    if form.kind == "record" and form.name not in records:
        return f"there is no record {text_of(repr(form.name))}"
    if len(form.of) != _PARTS.get(form.kind, len(form.of)):
        return f"a {form.kind} has {len(form.of)} parts"
    return ""
