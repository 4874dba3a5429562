"""What a page gets: who asks, the service in their name, what was asked for, and how it is answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from am2z_trio.admin import Admin, Permission, Principal, Rules
from am2z_trio.admin.findings import FindingsWatch
from am2z_trio.admin.jobs import reveals
from am2z_trio.admin.query import parse
from am2z_trio.admin.redaction import Redaction
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.limits import KIB, MAX_ANY_ID_BYTES
from am2z_trio.model.telling import cut
from am2z_trio.model.version import VERSION
from am2z_trio.model.views.actions import Answer

from . import messages
from .addresses import address
from .answers import AWAY
from .counts import Counts
from .live.last_known import Known, LastKnown
from .navigation import NAVIGATION, section_of
from .rendering import Rendered, Templates
from .statics import static_name
from .words import ago, lasting

MOST_ROWS: Final = 200
"""Of one page."""
MOST_QUERY: Final = 500
"""Characters of a filter."""
MOST_FIELDS: Final = 1_000
"""Of one form."""


class Console:
    """What all pages of one console share."""

    def __init__(self, runtime: Runtime, *, redaction: Rules | None = None, where: str = "") -> None:
        self.runtime: Final = runtime
        self.where: Final = where or runtime.place
        """Which runtimes' namespace it is, as the foot of each page says."""
        self.redaction: Final = redaction
        self.templates: Final = Templates()
        self.watch: Final = FindingsWatch(runtime)
        """The one through which all look for findings."""
        self.pages: frozenset[str] = frozenset()
        """The names of those that there are."""
        self.last_known: Final = LastKnown()
        """What they had to show last."""
        self.counts: Final = Counts()
        """How many there are of what the navigation leads to."""


class View:
    """One question of one principal."""

    def __init__(
        self,
        console: Console,
        request: Request,
        principal: Principal,
        *,
        page: str,
        live: Collection[str] = (),
        body: bytes = b"",
        face: str = "web",
    ) -> None:
        self.console: Final = console
        self.request: Final = request
        self.principal: Final = principal
        self.page: Final = page
        """Its name in `addresses.PAGES`, or what belongs to it."""
        self.admin: Final = Admin(
            console.runtime, principal=principal, face=face, redaction=console.redaction
        )
        """Every question and every action, in the principal's name."""
        self.body: Final = body
        """Of a request that changes something; at most 1 MiB."""
        self.rendered: Rendered | None = None
        """What was rendered last."""
        self.known: Known | None = None
        """Of what that was made."""
        self._live = live
        self._form: dict[str, list[str]] | None = None

    # --- what was asked for -----------------------------------------------------------------

    @property
    def watch(self) -> FindingsWatch:
        """Through which to ask for findings: `view.admin.findings(watch=view.watch)`."""
        return self.console.watch

    def id(self, name: str) -> str:
        """The id at that place of the path: `view.id("queue")` at `/queues/{queue}`."""
        return str(self.request.path_params[name])

    def query(self, name: str, default: str = "", *, most: int = MOST_QUERY) -> str:
        """A text of the address's query. Raises `ValidationError` for one that is too long."""
        return _text(name, self.request.query_params.get(name, default), most)

    def number(self, name: str, default: int, *, least: int = 0, most: int = MOST_ROWS) -> int:
        """A whole number of the address's query, within bounds."""
        given = self.request.query_params.get(name)
        return default if given is None or given == "" else _number(name, given, least, most)

    def choice(self, name: str, of: Collection[str], default: str) -> str:
        """One of some words of the address's query."""
        given = self.request.query_params.get(name, default)
        if given not in of:
            raise _refused(name, given, f"must be one of {', '.join(of)}")
        return given

    def field(self, name: str, default: str = "", *, most: int = MAX_ANY_ID_BYTES) -> str:
        """A text of the form that was sent."""
        return _text(name, self._sent().get(name, [default])[-1], most)

    def fields(self, name: str) -> list[str]:
        """All of that name in the form: what was ticked in a list."""
        return [_text(name, one, MAX_ANY_ID_BYTES) for one in self._sent().get(name, [])]

    def field_number(self, name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        """A whole number of the form that was sent."""
        given = self._sent().get(name, [""])[-1]
        return default if given == "" else _number(name, given, least, most)

    def field_seconds(self, name: str, default: float) -> float:
        """Seconds of the form that was sent."""
        given = self._sent().get(name, [""])[-1].strip()
        try:
            return float(given) if given else default
        except ValueError:
            raise _refused(name, given, "must be a number of seconds") from None

    @property
    def reason(self) -> str:
        """Why it is done, as the form says: every form of an action has a field `reason`."""
        return self.field("reason", most=KIB)

    def _sent(self) -> dict[str, list[str]]:
        if self._form is None:
            kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body and kind != "application/x-www-form-urlencoded":
                raise _refused("content-type", kind, "must be application/x-www-form-urlencoded")
            found = dict[str, list[str]]()
            try:
                text = self.body.decode("utf-8")
                pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
            except ValueError:
                raise _refused("form", "", f"must be UTF-8, with at most {MOST_FIELDS} fields") from None
            for name, value in pairs:
                # Browsers send lines of a text area with both; nobody has typed that.
                found.setdefault(name, []).append(value.replace("\r\n", "\n"))
            self._form = found
        return self._form

    # --- where things are -------------------------------------------------------------------

    @property
    def root(self) -> str:
        """Under which prefix the console is mounted; empty where it is not."""
        return root_of(self.request)

    def url(self, name: str, /, *, query: Mapping[str, object] | None = None, **ids: str) -> str:
        """Where a page or an action is: `view.url("queue.pause", queue=name)`."""
        return self.root + address(name, ids, query)

    def here(self, **changed: object) -> str:
        """This page with some of its query changed; `None` leaves that out."""
        query = {**dict(self.request.query_params), **changed}
        return self.url(self.page, query=query, **self.request.path_params)

    # --- how it is answered -----------------------------------------------------------------

    def may(self, permission: Permission) -> bool:
        """Whether the principal has it: what may not be done is not offered."""
        return self.admin.may(permission)

    def reveals(self, *filters: str) -> bool:
        """Whether one of these asks for what only some may see of payloads: each look by it is written
        down."""
        redaction = Redaction(self.console.redaction)
        for text in filters:
            try:
                if reveals(parse(text), redaction):
                    return True
            except ValidationError:
                # Nothing is looked for by it.
                continue
        return False

    def render(self, template: str, /, *, status: int = 200, **facts: Any) -> Response:
        """The page: the template with these facts, and with what each has (`base.html` says what)."""
        if status == 200:
            self.known = Known(template, facts, self.admin.now())
        return self._render(template, status, facts)

    def render_again(self, known: Known) -> Response:
        """The page as it was while Redis was there: it says so, and nothing can be done on it."""
        return self._render(known.template, AWAY, known.facts, known=known)

    def _render(
        self, template: str, status: int, facts: Mapping[str, Any], known: Known | None = None
    ) -> Response:
        said = messages.of(self.request)
        now = self.admin.now()
        shared: dict[str, Any] = {
            "page": self.page,
            "principal": self.principal,
            "may": self.may if known is None else _nothing,
            "known_at": None if known is None else known.at,
            "url": self.url,
            "here": self.here,
            "static": self._static,
            "ago": partial(ago, now=now),
            "lasting": partial(lasting, now=now),
            "now": now,
            "said": said,
            "navigation": NAVIGATION,
            "counts": self.console.counts.of(self.principal),
            "section": section_of(self.page),
            "pages": self.console.pages,
            "live": bool(self._live) and (status == 200 or known is not None),
            # Who may not come in is told nothing of where this is.
            "where": f"{self.console.where}\nam2z_trio {VERSION}" if self.principal.may else "",
        }
        self.rendered = self.console.templates.render(template, {**shared, **facts}, self._live)
        response = HTMLResponse(self.rendered.html, status)
        if said is not None:
            messages.forget(self.request, response)
        return response

    def _static(self, name: str) -> str:
        return f"{self.root}/static/{static_name(name)}"

    def done(self, answer: Answer | str, to: str) -> Response:
        """After an action: the browser goes to `to` (of `url`), which says what became of it."""
        text, ok = (answer, True) if isinstance(answer, str) else (answer.text, answer.done)
        response = RedirectResponse(to, status_code=303)
        messages.say(self.request, response, text, ok=ok)
        return response


def _nothing(_: Permission) -> bool:
    """What may be done while Redis is away."""
    return False


def root_of(request: Request) -> str:
    """The prefix under which the console is mounted."""
    return str(request.scope.get("am2z.root", "")).rstrip("/")


def _text(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise _refused(name, value, f"must have at most {most:,} characters, and has {len(value):,}")
    return value


def _number(name: str, given: str, least: int, most: int) -> int:
    rule = f"must be a whole number from {least:,} to {most:,}"
    if not (given.isascii() and given.lstrip("-").isdigit() and len(given) < 20):
        raise _refused(name, given, rule)
    if not least <= int(given) <= most:
        raise _refused(name, given, rule)
    return int(given)


def _refused(name: str, value: str, rule: str) -> ValidationError:
    shown = cut(value, 100)
    said = f"{name} {rule}{shown and f', not {shown!r}'}"
    return ValidationError(said, context={"field": name, "rule": rule})
