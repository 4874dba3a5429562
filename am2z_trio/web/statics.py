"""Style and script, each at an address that names its content: kept by browsers for ever, and never stale."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER: Final = Path(__file__).parent / "static"
KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """By the name that says what is in it: the content, and of what kind it is."""
    found = dict[str, tuple[bytes, str]]()
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in KINDS:
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()[:16]
            found[f"{path.stem}.{digest}{path.suffix}"] = data, KINDS[path.suffix]
    return found


@cache
def static_name(name: str) -> str:
    """`app.css` as it is asked for now: `app.0123456789abcdef.css`. Raises `KeyError` for no such file."""
    stem, _, suffix = name.rpartition(".")
    for known in _files():
        if known.startswith(f"{stem}.") and known.endswith(f".{suffix}"):
            return known
    raise KeyError(name)


async def serve(request: Request) -> Response:
    """Answer with one of the files."""
    found = _files().get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("There is no such file.", 404)
    data, kind = found
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    return Response(data, media_type=f"{kind}; charset=utf-8", headers=headers)
