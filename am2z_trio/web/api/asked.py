"""What a request says, as the arguments of the method that it asks: one Struct, made from its signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from am2z_trio.model.errors import ValidationError

MOST_PARAMETERS: Final = 250
"""Of a query."""


class Asked:
    """What may be said to one method, beyond what its path says."""

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self.struct: Final = struct
        """Its fields are what may be said."""
        self._types: dict[str, Any] = {one.name: one.type for one in msgspec.structs.fields(struct)}
        self._lists = {name for name, type_ in self._types.items() if get_origin(type_) is Sequence}
        """Which are said by giving them several times."""
        self._decoder = msgspec.json.Decoder(struct)

    @classmethod
    def of(
        cls, asks: Callable[..., Any], name: str, *, without: Collection[str], types: Mapping[str, Any]
    ) -> Asked:
        """By the method's signature: its arguments, but for those that are given otherwise. `types`: of
        arguments that have others in Python."""
        hints = get_type_hints(asks) | dict(types)
        fields = list[Any]()
        for parameter in inspect.signature(asks).parameters.values():
            if parameter.name == "self" or parameter.name in without:
                continue
            default = () if parameter.default is parameter.empty else (parameter.default,)
            fields.append((parameter.name, hints[parameter.name], *default))
        words = "".join(word.capitalize() for word in name.split("_"))
        return cls(
            msgspec.defstruct(
                f"{words}Request",
                fields,
                kw_only=True,
                frozen=True,
                forbid_unknown_fields=True,
                module=__name__,
            )
        )

    @property
    def takes(self) -> bool:
        """Whether anything may be said."""
        return bool(self._types)

    def of_query(self, query: str) -> dict[str, Any]:
        """What a query says: each parameter once, but for lists. Raises `ValidationError`."""
        said = dict[str, Any]()
        for name, text in _pairs(query):
            if name not in self._types:
                known = ", ".join(self._types) or "none"
                raise misfit(name, f"is no parameter here; there are: {known}")
            if name in self._lists:
                said.setdefault(name, []).append(text)
            elif name in said:
                raise misfit(name, "must be given once")
            else:
                said[name] = _of_text(name, text, self._types[name])
        try:
            return _arguments(msgspec.convert(said, self.struct))
        except msgspec.ValidationError as error:
            raise _of_msgspec(error) from None

    def of_body(self, query: str, body: bytes) -> dict[str, Any]:
        """What a body says, an object in JSON; of an empty one all is as by default. Raises
        `ValidationError`, and `ConfigurationError` for options that are none."""
        for name, _ in _pairs(query):
            raise misfit(name, "must be in the body: what acts takes no parameters")
        try:
            return _arguments(self._decoder.decode(body or b"{}"))
        except msgspec.ValidationError as error:
            raise _of_msgspec(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise misfit("body", f"must be JSON: {error}") from None


def misfit(field: str, rule: str) -> ValidationError:
    """One clear error of what a request says."""
    return ValidationError(f"{field} {rule}", context={"field": field, "rule": rule})


def _arguments(said: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(said, name) for name in said.__struct_fields__}


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict")
    except UnicodeDecodeError:
        raise misfit("query", "must be UTF-8") from None
    except ValueError:
        raise misfit("query", f"must have {MOST_PARAMETERS} parameters at most") from None


def _of_text(name: str, text: str, type_: Any) -> Any:
    """A parameter as its type: a text as it stands, whatever it says."""
    if type_ is str or str in get_args(type_):
        return text
    try:
        return msgspec.convert(text, type_, strict=False)
    except msgspec.ValidationError as error:
        raise misfit(name, f"is not right: {_lowered(str(error))}") from None


_PLACE: Final = re.compile(r"(.*) - at `(?:key in )?\$\.?(.*?)`", re.DOTALL)
_QUOTED: Final = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]*)`")


def _of_msgspec(error: msgspec.ValidationError) -> ValidationError:
    """By the field that it is about."""
    said = str(error)
    placed = _PLACE.fullmatch(said)
    rule, place = (placed[1], placed[2]) if placed else (said, "")
    if quoted := _QUOTED.match(rule):
        place = f"{place}.{quoted[1]}" if place else quoted[1]
        rule = "is missing" if "missing" in rule else "is no field here"
    return misfit(
        place or "body", _lowered(rule) if rule.startswith("is ") else f"is not right: {_lowered(rule)}"
    )


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
