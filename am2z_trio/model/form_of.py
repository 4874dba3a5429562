"""From a state's type to its form: what of it decides how it is stored and read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec
import msgspec.inspect as shapes

from .codecs import is_model, schema
from .forms import FieldForm, Form, Kind, RecordForm, Scalar
from .telling import attempt, class_of, text_of

KINDS: Final[dict[Any, Kind]] = {
    shapes.AnyType: "any",
    shapes.RawType: "any",
    shapes.NoneType: "null",
    shapes.BoolType: "bool",
    shapes.IntType: "int",
    shapes.FloatType: "float",
    shapes.StrType: "str",
    shapes.BytesType: "bytes",
    shapes.ByteArrayType: "bytes",
    shapes.MemoryViewType: "bytes",
    shapes.DateTimeType: "datetime",
    shapes.DateType: "date",
    shapes.TimeType: "time",
    shapes.TimeDeltaType: "timedelta",
    shapes.UUIDType: "uuid",
    shapes.DecimalType: "decimal",
    shapes.ExtType: "ext",
    shapes.ListType: "list",
    shapes.VarTupleType: "list",
    shapes.SetType: "set",
    shapes.FrozenSetType: "set",
}

RULES: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")

NOTHING: Final[dict[str, Any]] = {}

_ENCODED: Final = (str, int, float, bool)

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def form_of(kind: Any) -> tuple[Form, dict[str, RecordForm]]:
    """The form of a type that states can be kept as, and the records in it by name."""
    forms = _Forms()
    form = forms.of(shapes.type_info(kind))
    return form, {name: one for name, one in forms.records.items() if one is not None}


def name_of_type(kind: Any) -> str:
    """For a person, and the same in every process."""
    if isinstance(kind, type):
        return kind.__qualname__
    return str(kind).replace("__main__.", "")


class _Forms:
    """The records of one type, each once, whichever of them contain themselves."""

    def __init__(self) -> None:
        self.records = dict[str, RecordForm | None]()
        self._names = dict[Any, str]()

    def of(self, shape: Any) -> Form:
        if isinstance(shape, shapes.Metadata):
            return self.of(shape.type)
        kind = KINDS.get(type(shape))
        if kind is not None:
            item = getattr(shape, "item_type", None)
            return Form(kind=kind, rules=_rules(shape), of=() if item is None else (self.of(item),))
        if isinstance(shape, shapes.EnumType):
            return _values(one.value for one in shape.cls)
        if isinstance(shape, shapes.LiteralType):
            return _values(shape.values)
        if isinstance(shape, shapes.UnionType):
            return _union(self.of(part) for part in shape.types)
        if isinstance(shape, shapes.TupleType):
            return Form(kind="tuple", of=tuple(self.of(part) for part in shape.item_types))
        if hasattr(shape, "key_type"):  # of a dict, a frozen one too
            of = self.of(shape.key_type), self.of(shape.value_type)
            return Form(kind="dict", of=of, rules=_rules(shape))
        if isinstance(shape, shapes.CustomType):
            return self._of_class(shape.cls)
        return self._of_record(shape)

    def _of_class(self, cls: Any) -> Form:
        if cls is object:
            return Form(kind="any")
        if not is_model(cls):
            return _class(name_of_type(cls), attempt(partial(schema, cls), NOTHING))
        root = cls.model_fields.get("root") if getattr(cls, "__pydantic_root_model__", False) else None
        if root is not None:
            return self._of_model_field(cls, root)
        keeps = cls.model_config.get("extra") == "allow"
        return self._record(cls, lambda: RecordForm(fields=self._of_model(cls), keeps_unknown=keeps))

    def _of_model(self, cls: Any) -> tuple[FieldForm, ...]:
        return tuple(
            FieldForm(name=name, form=self._of_model_field(cls, field), required=field.is_required())
            for name, field in sorted(cls.model_fields.items())
        )

    def _of_model_field(self, cls: Any, field: Any) -> Form:
        """Of a field of a pydantic model, whose annotation may be one that msgspec has no word for."""
        shape = attempt(partial(shapes.type_info, field.annotation), None)
        if shape is None:
            return Form(kind="class", name=_text(field.annotation))
        form, rules = self.of(shape), dict[str, Scalar]()
        for one in field.metadata:
            # Of `annotated_types` each has the name of its rule as a field; others are what they say.
            said = {name: getattr(one, name) for name in RULES if getattr(one, name, None) is not None}
            plain = {name: value for name, value in said.items() if isinstance(value, _ENCODED)}
            rules |= plain or {f"rule {_text(one)}": True}
        return msgspec.structs.replace(form, rules={**form.rules, **rules}) if rules else form

    def _of_record(self, shape: Any) -> Form:
        by_place = bool(getattr(shape, "array_like", isinstance(shape, shapes.NamedTupleType)))

        def fields() -> RecordForm:
            found = [
                FieldForm(name=one.encode_name, form=self.of(one.type), required=one.required)
                for one in shape.fields
            ]
            return RecordForm(
                fields=tuple(found if by_place else sorted(found, key=lambda one: one.name)),
                by_place=by_place,
                tag_field=getattr(shape, "tag_field", None),
                tag=getattr(shape, "tag", None),
            )

        return self._record(shape.cls, fields)

    def _record(self, cls: Any, made: Callable[[], RecordForm]) -> Form:
        name = self._names.get(cls)
        if name is None:
            base = name = name_of_type(cls)
            again = 1
            while name in self.records:
                again += 1
                name = f"{base}#{again}"
            self._names[cls] = name
            self.records[name] = None
            self.records[name] = made()
        return Form(kind="record", name=name)


def _rules(shape: Any) -> dict[str, Scalar]:
    said = {name: getattr(shape, name, None) for name in RULES}
    return {name: value for name, value in said.items() if value is not None}


def _values(values: Iterable[Any]) -> Form:
    return Form(kind="values", values=tuple(sorted(values, key=lambda one: (class_of(one), one or 0))))


def _union(parts: Iterable[Form]) -> Form:
    return Form(kind="union", of=tuple(sorted(parts, key=msgspec.json.encode)))


def _class(name: str, said: dict[str, Any]) -> Form:
    return Form(
        kind="class",
        name=name,
        rules={"schema": msgspec.json.encode(said, order="sorted").decode()} if said else {},
    )


def _text(value: Any) -> str:
    """What an object says of itself, without the address at which it happens to be."""
    text = name_of_type(value) if isinstance(value, type) else text_of(value)
    return _ADDRESS.sub("", text)
