"""That a change was asked for by one of the console's own pages, not by one of another site."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers

from am2z_trio.model.origins import is_of

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def refusal(method: str, headers: Headers, *, scheme: str) -> str:
    """Why a request may not change anything; empty where it may, or asks for no change.

    Browsers say where a request comes from, in a header that no page can write (`Sec-Fetch-Site`), older ones
    at least from which origin. What says neither is no browser's: it is refused, unless it brings a token of
    its own, which no browser adds by itself as it does a cookie.
    """
    if method in SAFE:
        return ""
    if headers.get("authorization", "").lower().startswith("bearer ") and "cookie" not in headers:
        return ""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return "" if site == "same-origin" else f"it was asked for by a page of elsewhere ({site[:20]})"
    origin = headers.get("origin")
    if origin is None:
        return "nothing says that it was asked for by a page of this console (Sec-Fetch-Site, Origin)"
    if is_of(origin, headers.get("host", ""), scheme):
        return ""
    return "it was asked for by a page of another origin"
