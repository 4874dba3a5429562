"""Bytes to values and back: msgpack by msgspec, a size limit, and one clear error.

A state is encoded canonically (keys and sets in one order), so equal states have equal checksums.
Keys may be what msgpack can say in one piece: texts, numbers, enums, dates, times, UUIDs, bytes, tuples.
A time of a zone is kept as the moment it is, and read back as one of UTC.
Refused when written: what msgpack cannot say (unsupported types, integers beyond 64 bits), what
would not compare equal when read back (NaN), what nests too deep, what exceeds the limit.
"""

from __future__ import annotations

import copy
import hashlib
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from .errors import PayloadTooLargeError, ValidationError
from .limits import MAX_TEXT_BYTES
from .telling import attempt, class_of, cut, described, text_of
from .types import why_unfit

DEFAULT_MAX_BYTES: Final = 1024 * 1024
"""Decoding can cost hundreds of times a payload's size, so the limit is checked before."""

NIL: Final = msgspec.Raw(b"\xc0")

T = TypeVar("T")

_state_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_sorted_encoder: Final = msgspec.msgpack.Encoder(order="sorted")
_record_encoder: Final = msgspec.msgpack.Encoder()

# A float64 whose exponent is all ones: NaN or infinity, or bytes of something else that look so.
_MAYBE_NAN: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")

encode_record = _record_encoder.encode


class RecordDecoder(Generic[T]):
    """Decodes one of our own record types; anything else is a `ValidationError`, never a crash."""

    __slots__ = ("_decode", "_name")

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._name = getattr(kind, "__name__", str(kind))

    def __call__(self, data: bytes | msgspec.Raw) -> T:
        try:
            return self._decode(data)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValidationError(f"not a {self._name} this version can read: {error}") from error


class StateCodec(Generic[T]):
    """Encodes and decodes the states of one type."""

    __slots__ = ("_decode", "_max_bytes", "type")

    def __init__(self, kind: type[T] | Any, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.type = kind
        self._max_bytes = max_bytes
        try:
            self._decode = msgspec.msgpack.Decoder(kind).decode
            unfit = why_unfit(kind)
        except Exception as error:
            # What its fields' annotations name is looked up where its class was written.
            where = "; define it in the module of that type" if isinstance(error, NameError) else ""
            raise ValidationError(
                f"a state of type {_type_name(kind)} cannot be decoded: {text_of(error)}{where}"
            ) from error
        if unfit:
            raise ValidationError(f"a state of type {_type_name(kind)} cannot be kept: {unfit}")

    def decode(self, data: bytes | msgspec.Raw) -> T:
        """Return the state; `ValidationError` with the path (`$.items[3]`) if it does not fit."""
        if memoryview(data).nbytes > self._max_bytes:
            raise _too_large(memoryview(data).nbytes, self._max_bytes)
        try:
            return self._decode(data)  # type: ignore[no-any-return]
        except msgspec.ValidationError as error:
            raise ValidationError(
                f"the state does not fit {_type_name(self.type)}: {text_of(error)}"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValidationError(f"the state is not readable: {text_of(error)}") from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Its type runs code of its own.
            raise ValidationError(f"{_type_name(self.type)} refused the state: {described(error)}") from error

    def encode(self, state: object) -> bytes:
        """Return canonical bytes; `ValidationError` if the state cannot be encoded."""
        return encode_state(state, max_bytes=self._max_bytes)

    def digest(self, state: object) -> str:
        """Names what `encode` takes; the same for a record and a mapping that say the same."""
        return hashlib.sha256(_encoded(state, _sorted_encoder)).hexdigest()[:32]

    def encode_exactly(self, state: object) -> bytes:
        """`encode` what is to be stored: refuse what does not fit the type, or would be read back as
        something else, such as a set where the type says nothing of sets.

        The bytes are those of the state as it will be read, so 1 and 1.0 are one state where the type
        says float. Costs an encoding and a decoding more.
        """
        again = self.decode(encode_state(state, max_bytes=self._max_bytes))
        if not _equal(again, state):
            unsaid = f"the {class_of(state)} would be read back as something else"
            found = attempt(lambda: _difference(state, again, "$"), unsaid)
            if found is not None:
                kind = _type_name(self.type)
                raise ValidationError(
                    f"{cut(found, MAX_TEXT_BYTES)} as {kind}: say what it is in the state's type"
                )
        return _encoded(again)


def encode_state(state: object, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """Encode a state canonically, or refuse it with one `ValidationError`."""
    data = _encoded(state)
    if len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    if _MAYBE_NAN.search(data) is not None:
        where = _find(state, _is_nan)
        if where is not None:
            raise ValidationError(f"NaN at {where}: it equals nothing, itself included; use None")
    return data


def _encoded(state: object, encoder: msgspec.msgpack.Encoder = _state_encoder) -> bytes:
    try:
        try:
            return encoder.encode(state)
        except (TypeError, ValueError, msgspec.MsgspecError):
            # Msgspec puts keys in order that are texts, and members of sets that it can compare. Those of
            # other kinds are put in the order of their bytes.
            data = _record_encoder.encode(_in_order(state))
        if encoder is _sorted_encoder:
            # The fields of records, too, which are mappings now.
            data = _record_encoder.encode(_in_order(msgspec.msgpack.decode(data)))
        return data
    except OverflowError as error:
        place = _find(state, _beyond_64_bits) or "some place"
        raise ValidationError(f"an integer at {place} does not fit into 64 bits; store it as text") from error
    except RecursionError as error:
        raise ValidationError("the state is nested too deep, or contains itself") from error
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        where = _find(state, _has_odd_keys)
        if where is not None:
            raise ValidationError(
                f"the mapping at {where} has a key that cannot be kept: {text_of(error)}"
            ) from error
        why = attempt(lambda: _why_none(state), "")
        raise ValidationError(f"the state cannot be encoded: {why or text_of(error)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ValidationError(f"the state cannot be encoded: {described(error)}") from error


_LEAVES: Final = frozenset({bool, int, float, str, bytes})
"""Nothing is in these that has an order."""


def _in_order(value: object) -> object:
    """The value with its mappings, and its sets as lists, in the order of their keys' and members' bytes."""
    if value is None or type(value) in _LEAVES:
        return value
    if isinstance(value, Mapping):
        items = [(key, _in_order(item)) for key, item in cast("Mapping[object, object]", value).items()]
        return dict(sorted(items, key=lambda item: _record_encoder.encode(_in_order(item[0]))))
    if isinstance(value, set | frozenset):
        return sorted(map(_in_order, cast("Iterable[object]", value)), key=_record_encoder.encode)
    if isinstance(value, list | tuple):
        return [_in_order(item) for item in cast("Iterable[object]", value)]
    parts = {name: getattr(value, name) for name in _fields(value)}
    ordered = {name: _in_order(part) for name, part in parts.items()}
    if all(ordered[name] is part for name, part in parts.items()):
        return value
    record = copy.copy(value)
    for name, part in ordered.items():
        if isinstance(record, msgspec.Struct):
            msgspec.structs.force_setattr(record, name, part)
        else:
            object.__setattr__(record, name, part)
    return record


def plain_copy(value: object, what: str, most: int) -> Any:
    """The value as another process would read it: maps, lists, texts, numbers, bytes.

    Raises `ValidationError` if it cannot be encoded, `PayloadTooLargeError` if that takes more than `most`
    bytes.
    """
    if value is None:
        return None
    try:
        data = _record_encoder.encode(value)
        if len(data) <= most:
            return msgspec.msgpack.decode(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ValidationError(f"{what} cannot be sent: {described(error)}") from error
    raise PayloadTooLargeError(
        f"{what} is {len(data):,} bytes when encoded, the limit is {most:,}",
        context={"bytes": len(data), "limit": most},
    )


def checksum(blob: bytes) -> str:
    """SHA-256 of an encoded state, hex."""
    return hashlib.sha256(blob).hexdigest()


def _too_large(size: int, limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"the encoded state is {size:,} bytes, the limit is {limit:,} (max_state_bytes)",
        context={"bytes": size, "limit": limit},
    )


def _type_name(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or str(kind)


def _equal(a: object, b: object) -> bool:
    # Not by `attempt`: every job's state passes here.
    try:
        return bool(a == b)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False


def _difference(before: object, after: object, path: str) -> str | None:
    """Where what was read back is not what was written, for people; `None` if it is all the same.

    Looks into records that do not compare by value. A time of a zone equals none of another zone where its
    clocks are changed (the hour that comes twice, the one that never comes): it is the moment that counts.
    """
    if _equal(before, after) or _equal(_moment(before), _moment(after)):
        return None
    was, is_now = type(before).__name__, type(after).__name__
    if type(before) is type(after):
        inside: Iterable[tuple[str, object, object]] | None = None
        if isinstance(before, list | tuple):
            others = cast("Sequence[object]", after)
            ours = cast("Sequence[object]", before)
            inside = ((f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(ours, others, strict=True)))
        elif isinstance(before, Mapping):
            ours_by_key = _by_moment(cast("Mapping[object, object]", before))
            others_by_key = _by_moment(cast("Mapping[object, object]", after))
            if ours_by_key.keys() == others_by_key.keys():
                inside = ((f"{path}[{key!r}]", a, others_by_key[key]) for key, a in ours_by_key.items())
        elif names := _fields(before):
            inside = ((f"{path}.{name}", getattr(before, name), getattr(after, name)) for name in names)
        if inside is not None:
            return next(filter(None, (_difference(a, b, where) for where, a, b in inside)), None)
    return f"the {was} at {path} would be read back as the {is_now} {reprlib.repr(after)}"


def _moment(value: object) -> object:
    """The value with its times of a zone as those of UTC; so in tuples and sets, which are compared whole."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, tuple):
        return tuple(map(_moment, cast("Iterable[object]", value)))
    if isinstance(value, set | frozenset):
        return set(map(_moment, cast("Iterable[object]", value)))
    return value


def _by_moment(mapping: Mapping[object, object]) -> dict[object, object]:
    return {_moment(key): item for key, item in mapping.items()}


def _fields(record: object) -> list[str]:
    """Names of the fields of a Struct, dataclass or attrs class; none for anything else."""
    if isinstance(record, msgspec.Struct):
        return list(record.__struct_fields__)
    if names := getattr(record, "__dataclass_fields__", None):
        return list(names)
    return [field.name for field in getattr(record, "__attrs_attrs__", ())]


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def where_not_finite(state: object) -> str | None:
    """Path of the first NaN or infinity, for which JSON has no word; `None` if there is none."""
    return _find(state, lambda value: isinstance(value, float) and not math.isfinite(value))


def _beyond_64_bits(value: object) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**64


def _has_odd_keys(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    try:
        _record_encoder.encode(dict.fromkeys(cast("Mapping[object, object]", value)))
    except (TypeError, ValueError, msgspec.MsgspecError):
        return True
    return False


def _why_none(state: object) -> str:
    """What is in a state that no state can have, and where; empty if it is something else."""
    for path, value in _walk(state, "$"):
        why = why_unfit(type(value))
        if why:
            return f"{why} (at {path})"
    return ""


def _find(state: object, wanted: Callable[[object], bool]) -> str | None:
    """Path of the first value that is `wanted`; only runs to word an error."""
    found = (path for path, value in _walk(state, "$") if wanted(value))
    return attempt(lambda: next(found, None), None)


def _walk(value: object, path: str) -> Iterator[tuple[str, object]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from _walk(key, f"{path}.key({key!r})")
            yield from _walk(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(cast("Iterable[object]", value)):
            yield from _walk(item, f"{path}[{index}]")
    else:
        for name in _fields(value):
            yield from _walk(getattr(value, name), f"{path}.{name}")
