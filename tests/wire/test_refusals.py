"""Whatever keeps a client from its first connection is one clear error."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from am2z_trio.model.errors import (
    AM2ZError,
    AuthenticationError,
    ConfigurationError,
    NetworkError,
    ServerReplyError,
    UnsupportedServerError,
)
from am2z_trio.model.redis_options import RedisOptions
from tests.support.servers import SpawnRedis

from .peer import bulk, hello, open_client, open_peers

pytestmark = pytest.mark.anyio


async def refusal(url: str, **options: Any) -> AM2ZError:
    """The error of a client that must not start: one, not a group."""
    with pytest.raises(AM2ZError) as caught:
        async with open_client(url, **options):
            pass
    assert "hunter2" not in str(caught.value)
    return caught.value


async def played(url_of: Any, *turns: tuple[str, bytes], hang_up: bool = False, **options: Any) -> AM2ZError:
    """The error of a client whose server answers each command so, then perhaps hangs up."""
    async with open_peers(url_of) as peers, anyio.create_task_group() as tasks:

        async def play() -> None:
            peer = await peers.accept()
            for name, answer in turns:
                await peer.commands(name)
                await peer.answer(answer)
            if hang_up:
                peer.hang_up()

        tasks.start_soon(play)
        error = await refusal(peers.url, **options)
        tasks.cancel_scope.cancel()
    return error


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:{port}/1", "redis://localhost:{port}", "unix:///no/such/socket"]
)
async def test_no_server(url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = url.format(port=taken.getsockname()[1])
        error = await refusal(url)
    assert type(error) is NetworkError
    assert error.retryable
    where = RedisOptions.from_url(url).display
    reason = "no such file or directory" if "unix" in url else "connection refused"
    assert str(error) == (
        f"Redis is not reachable at {where} ({reason}). Start one, give another URL, "
        "or use embedded=True (pip install 'am2z-trio[embedded]')"
    )


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".invalid", "no such host"])
async def test_a_host_that_cannot_be_looked_up(host: str) -> None:
    with pytest.raises(NetworkError, match="Redis is not reachable at") as caught:
        async with open_client("redis://h", host=host):
            pass
    assert host in str(caught.value)


async def test_a_server_that_never_answers(tmp_path: Path) -> None:
    async with open_peers(tmp_path) as peers:
        error = await refusal(peers.url, connect_timeout=0.05)
    assert type(error) is NetworkError
    assert "did not answer within 0.05 s" in str(error)


async def test_a_server_that_hangs_up_at_once(tmp_path: Path) -> None:
    error = await played(tmp_path, hang_up=True)
    assert type(error) is NetworkError
    assert "ended the connection during the greeting" in str(error)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"+OK\r\n", b"*0\r\n"]
)
async def test_a_server_that_is_not_redis(tmp_path: Path, answer: bytes) -> None:
    error = await played(tmp_path, ("HELLO", answer))
    assert type(error) is UnsupportedServerError
    assert "is not Redis" in str(error)


async def test_a_server_that_is_too_old(tmp_path: Path) -> None:
    error = await played(tmp_path, ("HELLO", hello("6.0.16")))
    assert type(error) is UnsupportedServerError
    assert str(error).startswith("Redis 6.0.16 at unix://")
    assert str(error).endswith("is too old: 6.2 or later is needed")
    error = await played(tmp_path / "..", ("HELLO", b"-ERR unknown command `HELLO`, with args\r\n"))
    assert type(error) is UnsupportedServerError
    assert "does not know HELLO" in str(error)


async def test_what_stands_in_between_may_quote_the_greeting_and_the_password_is_not_shown(
    tmp_path: Path,
) -> None:
    answer = b"-ERR bad request: HELLO 3 AUTH me hunter2\r\n"
    error = await played(tmp_path, ("HELLO", answer), hang_up=True, username="me", password="hunter2")
    assert "bad request" in str(error)
    assert "hunter2" not in f"{error!r} {error} {error.context} {error.__cause__} {error.__context__}"


@pytest.mark.parametrize("version", ["6.2.0", "7.2.4", "255.255.255", "10.0.0-rc1"])
async def test_a_server_that_is_new_enough(tmp_path: Path, version: str) -> None:
    error = await played(
        tmp_path, ("HELLO", hello(version)), ("INFO", bulk("maxmemory_policy:allkeys-lru\r\n"))
    )
    assert "allkeys-lru" in str(error)


async def test_a_server_that_has_no_room_for_one_more_client(tmp_path: Path) -> None:
    error = await played(tmp_path, ("HELLO", b"-ERR max number of clients reached\r\n"), hang_up=True)
    assert isinstance(error, ServerReplyError | NetworkError)
    assert "max number of clients reached" in str(error)


async def test_an_evicting_server_is_refused_unless_allowed(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis({"maxmemory-policy": "allkeys-lru"})
    error = await refusal(server.url)
    assert type(error) is UnsupportedServerError
    assert "'allkeys-lru'" in str(error)
    assert "noeviction" in str(error)
    assert "allow_eviction" in str(error)
    async with open_client(server.url, allow_eviction=True) as client:
        assert await client.call("PING") == b"PONG"


async def test_a_replica_is_refused_with_the_name_of_its_primary(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis({"replicaof": "127.0.0.1 1"})
    error = await refusal(server.url)
    assert type(error) is UnsupportedServerError
    assert "is a replica" in str(error)
    assert "127.0.0.1:1" in str(error)


async def test_a_sentinel_is_refused(tmp_path: Path) -> None:
    error = await played(tmp_path, ("HELLO", hello("7.0.15", mode="sentinel")))
    assert type(error) is UnsupportedServerError
    assert "Sentinel" in str(error)


async def test_a_database_that_does_not_exist(redis_url: str) -> None:
    error = await refusal(f"{redis_url}?db=999")
    assert type(error) is ConfigurationError
    assert error.context["field"] == "db"
    async with open_client(f"{redis_url}?db=3", client_name="a name\n") as client:
        assert b"db=3" in await client.call("CLIENT", "LIST")
        assert b"name=a_name_ " in await client.call("CLIENT", "LIST")


async def test_passwords(spawn_redis: SpawnRedis, redis_url: str) -> None:
    server = spawn_redis({"requirepass": "hunter2"})
    server.call("ACL", "SETUSER", "bob", "on", "nopass", "~*", "&*", "+@all")
    wrong = await refusal(f"unix://:wrong@{server.socket}")
    assert type(wrong) is AuthenticationError
    assert "refused the username or password" in str(wrong)
    assert ":***@" in str(wrong)
    missing = await refusal(f"unix://{server.socket}")
    assert type(missing) is AuthenticationError
    assert "wants a password" in str(missing)
    nobody = await refusal(f"unix://nobody:hunter2@{server.socket}")
    assert type(nobody) is AuthenticationError
    needless = await refusal(redis_url.replace("unix://", "unix://nobody:hunter2@"))
    assert type(needless) is AuthenticationError
    for user in (":hunter2@", "default:hunter2@", "bob@", "bob:any@"):
        async with open_client(f"unix://{user}{server.socket}") as client:
            assert await client.call("PING") == b"PONG"


async def test_a_user_who_may_not_ask_about_memory_is_let_in(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis()
    server.call("ACL", "SETUSER", "bob", "on", "nopass", "~*", "&*", "+@all", "-info")
    async with open_client(server.url.replace("unix://", "unix://bob@")) as client:
        assert await client.call("ECHO", 1) == b"1"


async def test_tls_to_a_plain_port(spawn_redis: SpawnRedis) -> None:
    server = spawn_redis(tcp=True)
    async with open_client(server.tcp_url) as client:
        assert await client.call("PING") == b"PONG"
    error = await refusal(server.tcp_url.replace("redis://", "rediss://"), connect_timeout=1.0)
    assert type(error) is NetworkError
    assert "TLS" in str(error)
    assert "redis://" in str(error)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_plain_to_a_tls_port(tls: ssl.SSLContext) -> None:
    async with open_peers(tls=tls) as peers:
        error = await refusal(peers.url.replace("rediss://", "redis://"))
    assert type(error) is NetworkError
    assert "rediss://" in str(error)


async def test_a_certificate_of_nobody_we_know(tls: ssl.SSLContext) -> None:
    async with open_peers(tls=tls) as peers:
        error = await refusal(peers.url)
    assert type(error) is NetworkError
    assert "certificate" in str(error)
    assert "ca_file" in str(error)
    assert not error.retryable


async def test_a_certificate_for_another_name(authority: trustme.CA, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    ca_file = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    async with open_peers(tls=context) as peers:
        error = await refusal(peers.url, ca_file=ca_file)
    assert "certificate" in str(error)


@pytest.mark.parametrize("verified", [True, False])
async def test_tls_works(authority: trustme.CA, tls: ssl.SSLContext, tmp_path: Path, verified: bool) -> None:
    ca_file = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    parameter = f"ca_file={ca_file}" if verified else "tls_verify=false"
    async with open_peers(tls=tls) as peers, anyio.create_task_group() as tasks:

        async def play() -> None:
            peer = await peers.accept()
            await peer.greet()
            await peer.commands("ECHO")
            await peer.answer(bulk("x" * 100_000))

        tasks.start_soon(play)
        async with open_client(f"{peers.url}?{parameter}") as client:
            assert await client.call("ECHO", "x") == b"x" * 100_000


@pytest.mark.parametrize("field", ["ca_file", "cert_file"])
async def test_tls_files_that_are_not_there(field: str) -> None:
    with pytest.raises(ConfigurationError, match="TLS files"):
        async with open_client(f"rediss://127.0.0.1:1?{field}=/no/such.pem"):
            pass
