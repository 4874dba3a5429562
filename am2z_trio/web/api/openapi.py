"""The document that describes the API, OpenAPI 3.1: made from the table, and so from the Structs and the
methods themselves."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from am2z_trio.model.as_json import encoded

from .faults import Fault
from .routes import Route
from .shown import STANDS_FOR

ABOUT: Final = """Every question and every action of `am2z_trio.admin`, for programs.

GET asks and changes nothing; everything else acts, takes its arguments as an object in JSON, and is written
down in the audit before it is done and after. An action that came too late, as things have moved on since, is
answered with `done: false` and a sentence that says what is so now. Times are milliseconds since the epoch
where they are numbers. Ids and names may be any text: in a path `~` and two hex digits stand for a byte of
its UTF-8, so that a `/` is `~2F`, a `~` is `~7E`, and an empty one is `~`; all else may be percent-encoded.

With a cookie of the console, actions are taken from its own origin alone; programs say who they are by
`Authorization: Bearer …`.
"""

_REF: Final = "#/components/schemas/{name}"

Json = dict[str, Any]


def document(routes: Sequence[Route], *, server: str, cookie: str) -> bytes:
    """In JSON. `server`: where the paths begin; `cookie`: its name."""
    bodies = [route.asked.struct for route in routes if route.verb != "GET" and route.asked.takes]
    kinds = [Fault, *(route.shown.type for route in routes), *bodies]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    by_kind = dict(zip(map(id, kinds), schemas, strict=True))
    _described(components, kinds)
    paths = dict[str, Json]()
    for route in routes:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route, by_kind)
    told: Json = {
        "openapi": "3.1.0",
        "info": {"title": "am2z", "version": _version(), "description": ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": server or "/"}],
        "security": [{"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
    }
    return encoded(told)


def _operation(route: Route, by_kind: dict[int, Json]) -> Json:
    summary, _, rest = route.text.partition("\n\n")
    operation: Json = {
        "operationId": route.name,
        "summary": " ".join(summary.split()),
        "tags": [route.parts[0]],
        "x-permissions": list(route.permissions),
        "parameters": [*_in_path(route), *_in_query(route)],
        "responses": {
            "200": {"description": "the answer", "content": _json(by_kind[id(route.shown.type)])},
            "default": {"description": "why there is none", "content": _json(by_kind[id(Fault)])},
        },
    }
    if rest:
        operation["description"] = rest
    if route.verb != "GET" and route.asked.takes:
        needed = any(field.required for field in msgspec.structs.fields(route.asked.struct))
        body = _json(by_kind[id(route.asked.struct)])
        operation["requestBody"] = {"required": needed, "content": body}
    return operation


def _in_path(route: Route) -> Iterable[Json]:
    for name in route.in_path:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(route: Route) -> Iterable[Json]:
    if route.verb != "GET":
        return
    for field in msgspec.structs.fields(route.asked.struct):
        schema = msgspec.json.schema(field.type)
        if not field.required and field.default is not None:
            schema["default"] = field.default
        yield {"name": field.name, "in": "query", "required": field.required, "schema": schema}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _version() -> str:
    try:
        return version("am2z-trio")
    except PackageNotFoundError:
        return "0"


# --- what is said of fields where they stand ----------------------------------------------------------------


def _described(components: Json, kinds: Iterable[Any]) -> None:
    """Put into the schemas what is written below the fields of the Structs."""
    by_name: dict[str, Any] = {shown.__name__: struct for shown, struct in STANDS_FOR.items()}
    by_name |= {kind.__name__: kind for kind in kinds if isinstance(kind, type)}
    by_name |= {shown.__name__: struct for shown, struct in STANDS_FOR.items()}
    for name, schema in components.items():
        properties = schema.get("properties", {})
        for field, text in _texts(by_name.get(name)).items():
            if field in properties and "description" not in properties[field]:
                properties[field]["description"] = text


def _texts(struct: Any) -> dict[str, str]:
    """What stands below the fields of a class, and in its properties; nothing where there is no source."""
    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    assert isinstance(body, ast.ClassDef)
    found, last = dict[str, str](), ""
    for statement in body.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=last)):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if last:
                found[last], last = " ".join(text.split()), ""
            case ast.FunctionDef(name=name):
                found[name], last = " ".join((ast.get_docstring(statement) or "").split()), ""
            case _:
                last = ""
    return found
