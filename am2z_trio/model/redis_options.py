"""Where Redis is and how to get in."""

from __future__ import annotations

from typing import Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from .errors import ConfigurationError
from .options import require, require_count, require_seconds

_QUERY: Final = ("db", "connect_timeout", "call_timeout", "allow_eviction", "ca_file", "tls_verify")


class RedisOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One Redis server, and how patient to be with it. `repr` and `display` never show the password."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    """Path of a Unix socket; instead of host and port."""
    db: int = 0
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
    """Seconds without any answer, while one is due, after which the connection is given up."""
    max_pending_bytes: int = 1024 * 1024
    """Unsent bytes beyond which callers wait before they add more."""
    allow_eviction: bool = False
    """Use a server even if it may drop keys when its memory is full. Jobs can be lost then."""

    def __post_init__(self) -> None:
        require(
            isinstance(self.host, str) and self.host != "", "RedisOptions.host", self.host, "must be a name"
        )
        require_count("RedisOptions.port", self.port, least=1, most=65535)
        require_count("RedisOptions.db", self.db, least=0)
        require_seconds("RedisOptions.connect_timeout", self.connect_timeout, zero=False)
        require_seconds("RedisOptions.call_timeout", self.call_timeout, zero=False)
        require_count("RedisOptions.max_pending_bytes", self.max_pending_bytes)
        require(not (self.tls and self.path), "RedisOptions.tls", self.tls, "a Unix socket speaks no TLS")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read `redis://[[user]:password@]host[:port][/db]`, `rediss://…` (TLS) or
        `unix://[[user]:password@]/path[?db=0]`.

        Query parameters: `db`, `connect_timeout`, `call_timeout`, `allow_eviction`, `ca_file`,
        `tls_verify`. Raises `ConfigurationError` that names what is wrong, never the password.
        """
        require(isinstance(url, str), "url", type(url).__name__, "must be a text")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"url={_redact(url)!r}: {error}", context={"field": "url"}) from None
        known = {"redis": {}, "rediss": {"tls": True}, "unix": {}}
        require(parts.scheme in known, "url", _redact(url), "must begin with redis://, rediss:// or unix://")
        values: dict[str, object] = {
            **known[parts.scheme],
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }
        if parts.scheme == "unix":
            require(parts.path not in ("", "/"), "url", _redact(url), "must name a socket: unix:///path")
            require(not parts.hostname, "url", _redact(url), "needs three slashes: unix:///path")
            values["path"] = unquote(parts.path)
        else:
            values["host"] = parts.hostname or "localhost"
            values["port"] = 6379 if port is None else port
            database = parts.path.strip("/")
            if database:
                require(database.isdecimal(), "url", _redact(url), "its path must be a database number")
                values["db"] = int(database)
        for name, text in parse_qsl(parts.query, keep_blank_values=True):
            require(
                name in _QUERY, "url", _redact(url), f"unknown parameter {name!r}; known: {', '.join(_QUERY)}"
            )
            values[name] = _parameter(name, text)
        return cls(**values)  # type: ignore[arg-type]

    @property
    def display(self) -> str:
        """The URL without its password, for messages."""
        user = f"{quote(self.username)}:***@" if self.password else ""
        if self.path:
            return f"unix://{user}{self.path}" + (f"?db={self.db}" if self.db else "")
        scheme = "rediss" if self.tls else "redis"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{user}{host}:{self.port}/{self.db}"

    def __repr__(self) -> str:
        return f"RedisOptions({self.display!r})"


def _parameter(name: str, text: str) -> object:
    field = f"url parameter {name}"
    if name in ("allow_eviction", "tls_verify"):
        require(text.lower() in ("true", "false", "1", "0"), field, text, "must be true or false")
        return text.lower() in ("true", "1")
    if name == "db":
        require(text.isdecimal(), field, text, "must be a database number")
        return int(text)
    if name in ("connect_timeout", "call_timeout"):
        try:
            return float(text)
        except ValueError:
            require(False, field, text, "must be a number of seconds")
    return text


def _redact(url: str) -> str:
    before, at, after = url.rpartition("@")
    if not at:
        return url
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}***@{after}"
