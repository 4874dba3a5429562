"""Bytes to values and back: msgpack by msgspec, a size limit, and one clear error.

A state is encoded canonically (keys and sets in one order), so equal states have equal checksums.
Keys may be what msgpack can say in one piece: texts, numbers, enums, dates, times, UUIDs, bytes, tuples.
A time of a zone is kept as the moment it is, and read back as one of UTC. A state of a later version than
the first says which it is (`evolution`).
Refused when written: what msgpack cannot say (unsupported types, integers beyond 64 bits), what
would not compare equal when read back (NaN), what nests too deep, what exceeds the limit.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from . import codecs
from .errors import PayloadTooLargeError, ValidationError
from .evolution import (
    EXTENSION,
    AtVersion,
    Evolution,
    UnknownFieldsError,
    known_of,
    labelled,
    newer,
    unlabelled,
)
from .limits import MAX_TEXT_BYTES
from .places import beyond_64_bits, difference, equal, fields_of, find, has_odd_keys, is_nan, why_none
from .telling import attempt, class_of, cut, described, text_of
from .types import is_plain, why_unfit
from .unknown import shape_with_records, unknown_fields

DEFAULT_MAX_BYTES: Final = 1024 * 1024
"""Decoding can cost hundreds of times a payload's size, so the limit is checked before."""

NIL: Final = msgspec.Raw(b"\xc0")

MOST_FIELDS: Final = 10
"""Unknown fields that an error names."""

T = TypeVar("T")

_state_encoder: Final = msgspec.msgpack.Encoder(enc_hook=codecs.encode, order="deterministic")
_sorted_encoder: Final = msgspec.msgpack.Encoder(enc_hook=codecs.encode, order="sorted")
_plain_encoder: Final = msgspec.msgpack.Encoder(enc_hook=codecs.encode)
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


class _Labelled(Exception):
    """A state whose type says nothing has a label, and whoever reads it must know what that means."""


def _on_extension(code: int, data: memoryview) -> object:
    if code == EXTENSION:
        raise _Labelled
    return msgspec.msgpack.Ext(code, bytes(data))


class StateCodec(Generic[T]):
    """Encodes and decodes the states of one type, in the version in which this program has them."""

    __slots__ = ("_decode", "_max_bytes", "_takes_any", "evolution", "type")

    def __init__(
        self,
        kind: type[T] | Any,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        evolution: Evolution | None = None,
        takes_any: bool = False,
    ) -> None:
        """`evolution`: that of the type itself by default. `takes_any`: to look at states as what they are,
        whatever their version, where the type is plain data and says nothing of fields."""
        self.type = kind
        self.evolution = known_of(kind) if evolution is None else evolution
        self._max_bytes = max_bytes
        self._takes_any = takes_any and is_plain(kind)
        try:
            self._decode = msgspec.msgpack.Decoder(
                kind, dec_hook=codecs.decode, ext_hook=_on_extension
            ).decode
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
        """Return the state; `ValidationError` with the path (`$.items[3]`) if it does not fit,
        `StateVersionError` if it is of a newer version than this program knows.

        One of an older version is brought up to this one first."""
        if memoryview(data).nbytes > self._max_bytes:
            self._require_small(data)
        if self.evolution.version > 1:
            return self.read(self.form(data))
        try:
            return self._decode(data)  # type: ignore[no-any-return]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, _Labelled | msgspec.ValidationError) and unlabelled(data) is not None:
                return self.read(self.form(data))
            raise self._refused(error) from error

    def form(self, data: bytes | msgspec.Raw) -> bytes | msgspec.Raw | memoryview:
        """The state as this program would have written it, without its version."""
        found, known = unlabelled(data), self.evolution
        version, payload = (1, data) if found is None else found
        if version == known.version or self._takes_any:
            return payload
        what = _type_name(self.type)
        if version > known.version:
            raise newer(version, known.version, what)
        try:
            form = msgspec.msgpack.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValidationError(f"the state is not readable: {text_of(error)}") from error
        form = known.bring_up(form, version, what)
        try:
            return encode_state(form, max_bytes=self._max_bytes)
        except ValidationError as error:
            raise type(error)(
                f"what the migration of {what} to version {known.version} returned: {error.message}",
                context=error.context,
            ) from error

    def read(self, payload: bytes | msgspec.Raw | memoryview) -> T:
        """`decode` a state of this program's own version, which has no label."""
        try:
            return self._decode(payload)  # type: ignore[no-any-return]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._refused(error) from error

    def _refused(self, error: BaseException) -> ValidationError:
        """The error of a state that cannot be read, of what decoding it has raised."""
        if isinstance(error, msgspec.ValidationError):
            return ValidationError(f"the state does not fit {_type_name(self.type)}: {text_of(error)}")
        if isinstance(error, msgspec.DecodeError | UnicodeDecodeError | RecursionError):
            return ValidationError(f"the state is not readable: {text_of(error)}")
        # Its type runs code of its own.
        return ValidationError(f"{_type_name(self.type)} refused the state: {described(error)}")

    def require_whole(self, data: bytes, state: object, session: str) -> None:
        """Refuse to make anything of a stored state, which has been read as `state`, that has fields which
        the type does not know: written again, it would have lost them. `UnknownFieldsError` names them."""
        found = self.unknown_in(data, state)
        if found:
            raise would_lose(found, _type_name(self.type), session)

    def unknown_in(self, data: bytes, state: object) -> tuple[str, ...]:
        """Paths of the fields of a stored state, which has been read as `state`, that the type does not know:
        `MOST_FIELDS` at most, and then `…`."""
        shape = shape_with_records(self.type)
        if shape is None:
            return ()
        form = self.form(data)
        if _encoded(state) == form:
            return ()
        found = (*islice(unknown_fields(shape, msgspec.msgpack.decode(form)), MOST_FIELDS + 1),)
        return found if len(found) <= MOST_FIELDS else (*found[:MOST_FIELDS], "…")

    def _require_small(self, data: bytes | msgspec.Raw) -> None:
        found = unlabelled(data)
        size = memoryview(data if found is None else found[1]).nbytes
        if size > self._max_bytes:
            raise _too_large(size, self._max_bytes)

    def encode(self, state: object) -> bytes:
        """Return canonical bytes; `ValidationError` if the state cannot be encoded. Of what is `at_version`
        those of the state that it is brought up to; where the type is anything, as it is."""
        try:
            payload = encode_state(state, max_bytes=self._max_bytes)
        except ValidationError:
            # Nothing else that is a state costs anything more.
            if isinstance(state, AtVersion):
                return self._encode_said(state)
            raise
        version = self.evolution.version
        return payload if version == 1 else labelled(payload, version)

    def _encode_said(self, said: AtVersion) -> bytes:
        payload = encode_state(said.form, max_bytes=self._max_bytes)
        data = payload if said.version == 1 else labelled(payload, said.version)
        return data if self._takes_any else self.encode(self.decode(data))

    def digest(self, state: object) -> str:
        """Names what `encode` takes; the same for a record and a mapping that say the same."""
        state = state.form if isinstance(state, AtVersion) else state
        return hashlib.sha256(_encoded(state, _sorted_encoder)).hexdigest()[:32]

    def encode_exactly(self, state: object) -> bytes:
        """`encode` what is to be stored: refuse what does not fit the type, or would be read back as
        something else, such as a set where the type says nothing of sets.

        The bytes are those of the state as it will be read, so 1 and 1.0 are one state where the type
        says float. Costs an encoding and a decoding more.
        """
        again = self.read(encode_state(state, max_bytes=self._max_bytes))
        if not equal(again, state):
            unsaid = f"the {class_of(state)} would be read back as something else"
            found = attempt(lambda: difference(state, again, "$"), unsaid)
            if found is not None:
                kind = _type_name(self.type)
                raise ValidationError(
                    f"{cut(found, MAX_TEXT_BYTES)} as {kind}: say what it is in the state's type"
                )
        payload, version = _encoded(again), self.evolution.version
        return payload if version == 1 else labelled(payload, version)

    def encode_over(self, state: object, before: bytes) -> bytes:
        """`encode_exactly` what is made of a stored state, `before`: where that was read as plain data, it is
        still of its version."""
        data = self.encode_exactly(state)
        found = unlabelled(before) if self._takes_any else None
        return data if found is None else labelled(data, found[0])


def would_lose(fields: Sequence[str], type_name: str, session: str) -> UnknownFieldsError:
    """The error of a state that is not to be written over, for what it would lose."""
    told = cut(", ".join(fields), MAX_TEXT_BYTES)
    return UnknownFieldsError(
        f"the stored state of session {session!r} has fields that {type_name} does not know, and that would "
        f"be lost: {told}",
        context={"session": session, "fields": told},
    )


def encode_state(state: object, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """Encode a state canonically, or refuse it with one `ValidationError`."""
    data = _encoded(state)
    if len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    if _MAYBE_NAN.search(data) is not None:
        where = find(state, is_nan)
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
            data = _plain_encoder.encode(_in_order(state))
        if encoder is _sorted_encoder:
            # The fields of records, too, which are mappings now.
            data = _plain_encoder.encode(_in_order(msgspec.msgpack.decode(data)))
        return data
    except OverflowError as error:
        place = find(state, beyond_64_bits) or "some place"
        raise ValidationError(f"an integer at {place} does not fit into 64 bits; store it as text") from error
    except RecursionError as error:
        raise ValidationError("the state is nested too deep, or contains itself") from error
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        where = find(state, has_odd_keys)
        if where is not None:
            raise ValidationError(
                f"the mapping at {where} has a key that cannot be kept: {text_of(error)}"
            ) from error
        why = attempt(lambda: why_none(state), "")
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
        return dict(sorted(items, key=lambda item: _plain_encoder.encode(_in_order(item[0]))))
    if isinstance(value, set | frozenset):
        return sorted(map(_in_order, cast("Iterable[object]", value)), key=_plain_encoder.encode)
    if isinstance(value, list | tuple):
        return [_in_order(item) for item in cast("Iterable[object]", value)]
    parts = {name: getattr(value, name) for name in fields_of(value)}
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
