"""Who asks: `authenticate(request)` answers with a `Principal`, or with `None` for somebody unknown.

Anything that can be called so will do; it may be async. Ready made are `loopback_token`, `proxy_header` and
`basic`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import anyio
from starlette.requests import Request

from am2z_trio.admin import Principal
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.errors import AM2ZError, ConfigurationError
from am2z_trio.model.limits import MAX_NAME_BYTES

from .. import cookies

Authenticate: TypeAlias = Callable[[Request], Principal | Awaitable[Principal | None] | None]
"""Who asks; `None`: nobody that is known."""

MOST_BROWSERS: Final = 100
"""That one link's console keeps in mind; the one that has come first is forgotten for another."""


HASHED_AT_ONCE: Final = 2
"""Passwords: each takes 32 MiB and a thread for a while, and anybody may send wrong ones."""

LEAST_TOKEN: Final = 16
MOST_TOKEN: Final = 4096
"""Characters of a program's token."""


class LoopbackToken:
    """Lets in whoever opens the link that it gives out, from then on by a cookie: for a console on one's own
    machine, as those who can read the terminal may. Each link opens it once."""

    def __init__(self, principal: Principal) -> None:
        self._principal: Final = principal
        self._token = secrets.token_urlsafe(32)
        self._browsers: Final[OrderedDict[bytes, None]] = OrderedDict()
        self.used: Callable[[], object] = lambda: None
        """Called when a link has been used: the next one is a new one."""

    @property
    def token(self) -> str:
        """What the next link opens with."""
        return self._token

    def link(self, base: str) -> str:
        """The next link, to a console at this address."""
        return f"{base.rstrip('/')}/?token={self._token}"

    def __call__(self, request: Request) -> Principal | None:
        """Who has come by a link earlier."""
        kept = cookies.read(request)
        return self._principal if kept and _digest(kept) in self._browsers else None

    def admit(self, token: str) -> str | None:
        """For the right token what the browser is to keep, once; `None` for any other."""
        if not hmac.compare_digest(_digest(token), _digest(self._token)):
            return None
        self._token = secrets.token_urlsafe(32)
        kept = secrets.token_urlsafe(32)
        self._browsers[_digest(kept)] = None
        while len(self._browsers) > MOST_BROWSERS:
            self._browsers.popitem(last=False)
        self.used()
        return kept


def loopback_token(principal: Principal | None = None) -> LoopbackToken:
    """For a console on this machine: a link, of which `link(base)` tells the address, opens it once, and the
    browser is known from then on. `principal`: whom they are; by default an admin called `loopback`."""
    if principal is not None:
        require(isinstance(principal, Principal), "principal", principal, "must be a Principal")
    return LoopbackToken(principal or Principal(name="loopback", role="admin"))


def proxy_header(
    name: str, *, trusted: Sequence[str], role: str | Callable[[str], Principal | None] = "viewer"
) -> Authenticate:
    """Whoever a proxy says in this header, of those at the `trusted` addresses or networks; of others the
    header is not believed. `role`: what they are, or a function of the name that tells whom that is."""
    name = require_text("name", name, most=200)
    some = bool(trusted) and not isinstance(trusted, str)
    require(some, "trusted", trusted, "must be networks, one at least")
    try:
        networks = [ipaddress.ip_network(one, strict=False) for one in trusted]
    except ValueError as error:
        raise ConfigurationError(f"trusted: {error}", context={"field": "trusted"}) from None
    if not callable(role):
        Principal(name="-", role=role)

    def authenticate(request: Request) -> Principal | None:
        client = request.client
        if client is None or not _is_in(client.host, networks):
            return None
        # Two of them: the proxy has passed on what somebody else wrote.
        given = request.headers.getlist(name)
        if len(given) != 1 or not given[0].strip():
            return None
        who = given[0].strip()
        return role(who) if callable(role) else _principal(who, role)

    return authenticate


class Basic:
    """Names and passwords, which browsers ask for. Take care that they come over TLS."""

    challenge: Final = 'Basic realm="am2z", charset="UTF-8"'

    def __init__(self, users: Mapping[str, str], role: str | Callable[[str], Principal | None]) -> None:
        self._users: Final = {name: _Scrypt(hashed) for name, hashed in users.items()}
        self._role: Final = role
        self._nobody: Final = _Scrypt(scrypt(secrets.token_urlsafe(8)))
        self._known: Final[OrderedDict[bytes, None]] = OrderedDict()
        self._key: Final = secrets.token_bytes(32)
        self._few: Final = anyio.CapacityLimiter(HASHED_AT_ONCE)

    async def __call__(self, request: Request) -> Principal | None:
        """Who has given the right password."""
        found = _credentials(request.headers.get("authorization", ""))
        if found is None:
            return None
        name, password = found
        user = self._users.get(name, self._nobody)
        # It takes its time by design: once for each password, which then is known by a digest under a key
        # that this process alone has.
        seen = hmac.digest(self._key, f"{name}\0{password}".encode("utf-8", "surrogatepass"), "sha256")
        if seen not in self._known:
            if not await user.fits(password, self._few) or name not in self._users:
                return None
            self._known[seen] = None
            while len(self._known) > MOST_BROWSERS:
                self._known.popitem(last=False)
        return self._role(name) if callable(self._role) else _principal(name, self._role)


def basic(
    users: Mapping[str, str], *, role: str | Callable[[str], Principal | None] = "viewer"
) -> Authenticate:
    """Users by name, each with what `scrypt(password)` has made of the password. `role`: what they are, or a
    function of the name that tells whom that is."""
    require(bool(users), "users", list(users), "must name one at least")
    for name in users:
        require_text("users", name, most=MAX_NAME_BYTES)
        require(":" not in name, "users", name, "must have no ':'")
    if not callable(role):
        Principal(name="-", role=role)
    return Basic(users, role)


class Bearer:
    """Programs by the token that each brings: `Authorization: Bearer …`."""

    challenge: Final = 'Bearer realm="am2z"'

    def __init__(self, tokens: Mapping[str, str], role: str | Callable[[str], Principal | None]) -> None:
        self._digests: Final = {name: _of_token(name, token) for name, token in tokens.items()}
        self._role: Final = role

    def __call__(self, request: Request) -> Principal | None:
        """Who has brought its token."""
        given = request.headers.getlist("authorization")
        kind, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if kind.lower() != "bearer" or len(token) > MOST_TOKEN:
            return None
        digest, found = _digest(token.strip()), None
        # All of them are compared, so that how long it takes tells nothing.
        for name, own in self._digests.items():
            if hmac.compare_digest(digest, own):
                found = name
        if found is None:
            return None
        return self._role(found) if callable(self._role) else _principal(found, self._role)


def bearer(
    tokens: Mapping[str, str], *, role: str | Callable[[str], Principal | None] = "viewer"
) -> Authenticate:
    """Programs by name, each with its token, of 16 characters at least, or with `sha256:` and the hex digits
    of that token's digest; no more than the digest is kept. `role`: what they are, or a function of the name
    that tells whom that is. Take care that it comes over TLS."""
    require(bool(tokens), "tokens", list(tokens), "must name one at least")
    for name in tokens:
        require_text("tokens", name, most=MAX_NAME_BYTES)
    if not callable(role):
        Principal(name="-", role=role)
    return Bearer(tokens, role)


def _of_token(name: str, token: str) -> bytes:
    some = f"{LEAST_TOKEN} to {MOST_TOKEN:,} characters"
    rule = f"that of {name!r} must be a text of {some}, or sha256: and its digest"
    kind, colon, digits = token.partition(":")
    try:
        digest = bytes.fromhex(digits) if colon and kind == "sha256" else _digest(token)
    except ValueError:
        digest = b""
    # A token is never shown, not even one that is refused.
    if len(digest) != 32 or not LEAST_TOKEN <= len(token) <= MOST_TOKEN or token != token.strip():
        raise ConfigurationError(f"tokens: {rule}", context={"field": "tokens", "rule": rule})
    return digest


def scrypt(password: str) -> str:
    """What is kept of a password: `scrypt$N$r$p$salt$hash`."""
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", "32768", "8", "1", _text(salt), _text(_hashed(password, salt, 32768, 8, 1))))


class _Scrypt:
    """What is kept of one password."""

    def __init__(self, kept: str) -> None:
        try:
            kind, n, r, p, salt, hashed = kept.split("$")
            self._cost = int(n), int(r), int(p)
            self._salt, self._hash = _data(salt), _data(hashed)
            # What takes more memory than `_hashed` grants is refused now, not when somebody comes.
            if not (1 < self._cost[0] <= 2**16 and 0 < self._cost[1] <= 8 and 0 < self._cost[2] <= 8):
                kind = ""
        except ValueError:
            kind = ""
        rule = "must be what scrypt(password) makes"
        if kind != "scrypt":
            raise ConfigurationError(f"users: a password {rule}", context={"field": "users", "rule": rule})

    async def fits(self, password: str, few: anyio.CapacityLimiter) -> bool:
        """Whether it is that. `few`: how many are asked at a time, who leave threads to others."""
        import anyio.to_thread

        hashed = await anyio.to_thread.run_sync(
            lambda: _hashed(password, self._salt, *self._cost), limiter=few
        )
        return hmac.compare_digest(hashed, self._hash)


def _hashed(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=128 * 2**20, dklen=32)


def _credentials(header: str) -> tuple[str, str] | None:
    kind, _, given = header.partition(" ")
    if kind.lower() != "basic" or len(given) > 4096:
        return None
    try:
        name, colon, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _principal(name: str, role: str) -> Principal | None:
    try:
        return Principal(name=name, role=role)
    except AM2ZError:
        # A name that the audit could not keep.
        return None


_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _is_in(host: str, networks: Sequence[_Network]) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _data(text: str) -> bytes:
    return base64.b64decode(text, altchars=b"-_", validate=True)
