"""Where Redis is and how to get in."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from .arguments import Options
from .checks import keep, require, require_count, require_seconds


class RedisOptions(Options, frozen=True, kw_only=True):
    """One Redis server, and how patient to be with it. `repr` and `display` never show the password."""

    host: str = "localhost"
    """Name or address."""
    port: int = 6379
    """1 to 65535."""
    path: str = ""
    """Path of a Unix socket; instead of host and port."""
    db: int = 0
    """Number of the database."""
    username: str = ""
    """Empty for the default user."""
    password: str = ""
    """Empty for none."""
    tls: bool = False
    """Encrypt; the certificate is verified unless `tls_verify` is off."""
    ca_file: str = ""
    """PEM file of the authorities to trust; empty for the system's."""
    cert_file: str = ""
    """PEM file of our own certificate, where the server asks for one."""
    key_file: str = ""
    """PEM file of its key; empty if the certificate's file holds it."""
    tls_verify: bool = True
    """Off: any certificate will do, and so will any man in the middle."""
    connect_timeout: float = 5.0
    """Seconds until a connection must stand, greeting included."""
    call_timeout: float = 10.0
    """Seconds without a byte from the server, while an answer is due, after which a connection is given up
    and made anew. A quiet one is asked for a sign of life after a third of it."""
    client_name: str = "am2z"
    """What `CLIENT LIST` shows; empty for nothing. Odd characters become `_`."""
    max_pending_bytes: int = 1024 * 1024
    """Unsent bytes beyond which callers wait before they add more."""
    allow_eviction: bool = False
    """Use a server even if it may drop keys when its memory is full. Jobs can be lost then."""

    def __post_init__(self) -> None:
        for name in ("host", "path", "username", "ca_file", "cert_file", "key_file", "client_name"):
            value: object = getattr(self, name)
            text = str.__str__(value) if isinstance(value, str) else None
            told = "…" if name in _TOUCHY and text else value
            require(text is not None and "\0" not in text, name, told, "must be a text without NUL")
            keep(self, name, text)
        password: object = self.password
        text = str.__str__(password) if isinstance(password, str) else None
        require(text is not None and _is_unicode(text), "password", "***", "must be a Unicode text")
        keep(self, "password", text)
        for name in ("host", "username", "client_name"):
            # File names may hold half of a surrogate pair; what is sent may not.
            sent: str = getattr(self, name)
            told = "…" if name in _TOUCHY else sent
            require(_is_unicode(sent), name, told, "must be a Unicode text, without half a surrogate pair")
        # Who gives a URL, or what comes before an '@', in the place of a host has given a password, too.
        require(_HOST.fullmatch(self.host) is not None, "host", "…", "must be a name or an address")
        require("://" not in self.path, "path", "…", "must be the path of a Unix socket, and no URL")
        keep(self, "port", require_count("port", self.port, most=65535))
        keep(self, "db", require_count("db", self.db, least=0))
        for name in ("tls", "tls_verify", "allow_eviction"):
            value = getattr(self, name)
            require(isinstance(value, bool), name, value, "must be True or False")
        require(not (self.tls and self.path), "tls", self.tls, "a Unix socket speaks no TLS")
        require(not self.key_file or bool(self.cert_file), "key_file", self.key_file, "goes with cert_file")
        keep(self, "connect_timeout", require_seconds("connect_timeout", self.connect_timeout, zero=False))
        keep(self, "call_timeout", require_seconds("call_timeout", self.call_timeout, zero=False))
        keep(self, "max_pending_bytes", require_count("max_pending_bytes", self.max_pending_bytes))

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read `redis://[[user]:password@]host[:port][/db]`, `rediss://…` (TLS) or
        `unix://[[user]:password@]/path[?db=0]`.

        User, password and path are percent-decoded. Query parameters: every other field but `host`,
        `port`, `path`, `username`, `password` and `tls`. Raises one `ConfigurationError` that names
        field, value and rule, and never the password: of a URL that is not understood only that is shown
        which can be none.
        """
        require(isinstance(url, str), "url", type(url).__name__, "must be a text")
        url = str.__str__(url)
        shown = _redacted(url)
        parts = _split(url)
        # The reason urlsplit gives may quote a part of a password that should have been encoded.
        rule = "is not a URL: check brackets and port, and percent-encode '/', '@', '#', '?' in a password"
        require(parts is not None, "url", shown, rule)
        assert parts is not None
        host, port = unquote(parts.hostname or ""), parts.port
        require(not host or _HOST.fullmatch(host) is not None, "url", shown, rule)
        require("@" not in parts.query, "url", shown, f"{rule}, and '@' in a parameter")
        values: dict[str, Any] = {
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }
        require(
            parts.scheme in ("redis", "rediss", "unix"),
            "url",
            shown,
            "must begin with redis://, rediss:// or unix://",
        )
        require(not parts.fragment, "url", shown, "ends in a '#' part: percent-encode '#' as %23")
        if parts.scheme == "unix":
            require(not host and parts.path not in ("", "/"), "url", shown, "must look like unix:///path")
            values["path"] = unquote(parts.path)
        else:
            values["tls"] = parts.scheme == "rediss"
            values["host"] = host or "localhost"
            values["port"] = 6379 if port is None else port
            database = parts.path.strip("/")
            if database:
                require(_is_number(database), "url", shown, "its path must be the number of a database")
                values["db"] = int(database)
        for name, text in parse_qsl(parts.query, keep_blank_values=True):
            # One without a '=' may be anything that the user did not mean as a parameter.
            known, told = name in _PARAMETERS, repr(name) if text and name.isidentifier() else "in it"
            require(known, "url", shown, f"unknown parameter {told}; there are: {', '.join(_PARAMETERS)}")
            values[name] = _parameter(name, text)
        return cls(**values)

    @property
    def display(self) -> str:
        """The URL without its password, for messages. A user without one is not shown either: more often than
        not that is the password, with its ':' forgotten."""
        user = f"{quote(self.username)}:***@" if self.password else "***@" if self.username else ""
        if self.path:
            return f"unix://{user}{self.path}" + (f"?db={self.db}" if self.db else "")
        scheme = "rediss" if self.tls else "redis"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{user}{host}:{self.port}/{self.db}"

    def __repr__(self) -> str:
        return f"RedisOptions({self.display!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Rich would print every field otherwise."""
        return [("url", self.display)]


# Whatever has no place of its own in a URL, with what its text is read as.
_PARAMETERS: Final[dict[str, type]] = {
    "db": int,
    "connect_timeout": float,
    "call_timeout": float,
    "client_name": str,
    "max_pending_bytes": int,
    "allow_eviction": bool,
    "ca_file": str,
    "cert_file": str,
    "key_file": str,
    "tls_verify": bool,
}

_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def _parameter(name: str, text: str) -> object:
    kind = _PARAMETERS[name]
    if kind is bool:
        require(text.lower() in _BOOLEANS, name, text, "must be true or false")
        return _BOOLEANS[text.lower()]
    if kind is int:
        require(_is_number(text), name, text, "must be a whole number, 0 or more")
        return int(text)
    if kind is float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = float("nan")
        require(isfinite(seconds), name, text, "must be a number of seconds")
        return seconds
    return text


def _is_number(text: str) -> bool:
    # Python refuses to read thousands of digits; what is longer is out of bounds anyway.
    return text.isascii() and text.isdigit() and len(text) <= 18


_TOUCHY: Final = ("host", "username")
"""Where a password is found that was put into the wrong place."""

_HOST: Final = re.compile(r"[^@/?#:%]+|[0-9a-fA-F:.]+(%[\w.-]+)?")
"""A name that may be looked up, or an address; no part of a URL."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,19}://")

_WHERE: Final = re.compile(
    r"(?P<user>[^/?#]*@)?(?P<host>([\w.-]+|\[[0-9a-fA-F:.]+(%[\w.-]+)?\]|)(:\d{1,5})?)"
    r"(?P<path>/[^@?#:]*)?(?P<rest>[?#][^@]*)?"
)
"""What a URL may show: where the server is, if it can be told from what may be a password."""


def _redacted(url: str) -> str:
    """For messages: without anything that may be a password, wherever the user put it."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return "…"
    found = _WHERE.fullmatch(url, scheme.end())
    if found is None:
        return f"{scheme[0]}…"
    user, host, path = "***@" if found["user"] else "", found["host"], found["path"] or ""
    if scheme[0].startswith("unix"):
        host = "…" if host else ""
    elif path and not path[1:].isdigit():
        path = "/…"
    return f"{scheme[0]}{user}{host}{path}{'?…' if found['rest'] else ''}"


def _split(url: str) -> SplitResult | None:
    """Its parts; `None` where it has none, or no port that is a number."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
