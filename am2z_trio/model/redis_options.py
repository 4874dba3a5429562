"""Where Redis is and how to get in."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from .arguments import Options
from .errors import ConfigurationError
from .options import keep, require, require_count, require_seconds


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
            require(text is not None and "\0" not in text, name, value, "must be a text without NUL")
            keep(self, name, text)
        password: object = self.password
        text = str.__str__(password) if isinstance(password, str) else None
        require(text is not None and _is_unicode(text), "password", "***", "must be a Unicode text")
        keep(self, "password", text)
        for name in ("host", "username", "client_name"):
            # File names may hold half of a surrogate pair; what is sent may not.
            sent: str = getattr(self, name)
            require(_is_unicode(sent), name, sent, "must be a Unicode text, without half a surrogate pair")
        require(self.host != "", "host", self.host, "must be a name or an address")
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
        field, value and rule, and never the password.
        """
        require(isinstance(url, str), "url", type(url).__name__, "must be a text")
        url = str.__str__(url)
        shown = _redacted(url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            # The reason urlsplit gives may quote a part of a password that should have been encoded.
            rule = "is not a URL: check brackets and port, and percent-encode '/', '@', '#' in a password"
            raise _refusal(shown, rule) from None
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
            values["host"] = unquote(host) or "localhost"
            values["port"] = 6379 if port is None else port
            database = parts.path.strip("/")
            if database:
                require(_is_number(database), "url", shown, "its path must be the number of a database")
                values["db"] = int(database)
        for name, text in parse_qsl(parts.query, keep_blank_values=True):
            require(
                name in _PARAMETERS,
                "url",
                shown,
                f"unknown parameter {name!r}; there are: {', '.join(_PARAMETERS)}",
            )
            values[name] = _parameter(name, text)
        return cls(**values)

    @property
    def display(self) -> str:
        """The URL without its password, for messages."""
        user = quote(self.username) + (":***@" if self.password else "@" if self.username else "")
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


def _redacted(url: str) -> str:
    """For messages: without anything that may be a password, wherever the user put it."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return url if "@" not in url and "?" not in url else "…"
    before, at, after = rest.rpartition("@")
    after, mark, _ = after.partition("?")
    return f"{scheme}://{'***@' if at and before else at}{after}{'?…' if mark else ''}"


def _refusal(shown: str, rule: str) -> ConfigurationError:
    return ConfigurationError(
        f"url={shown!r}: {rule}", context={"field": "url", "value": shown, "rule": rule}
    )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
