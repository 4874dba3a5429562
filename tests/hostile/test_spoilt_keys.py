"""Spoilt keys and garbled answers: some rounds of the fuzz, the same each time, and what it has found."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import anyio
import pytest

from am2z_trio.model.errors import UnknownOutcomeError, UnsupportedServerError
from tests.hostile import fuzz
from tests.support.servers import RedisProcess
from tests.wire.peer import hello, open_client, open_peers, open_played

HOSTS = ("trio", "asyncio")


@pytest.mark.parametrize("round", range(8))
def test_spoilt_keys_abort_no_script_and_stop_no_queue(redis_server: RedisProcess, round: int) -> None:
    chance = random.Random(f"test/{round}")
    anyio.run(partial(fuzz.fuzz_records, redis_server, chance, steps=60), backend=HOSTS[round % 2])


@pytest.mark.parametrize("round", range(20))
def test_a_server_that_answers_rubbish_ends_no_client(round: int, tmp_path: Path) -> None:
    anyio.run(fuzz.fuzz_connection, random.Random(f"test/{round}"), tmp_path, backend=HOSTS[round % 2])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [b"%1\r\n*0\r\n:1\r\n", b">0\r\n", b">1\r\n$7\r\nmessage\r\n", b">3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n"],
    ids=["a key that is a list", "an empty push", "a message without a channel", "a message of numbers"],
)
async def test_an_answer_of_another_shape_ends_its_connection_only(answer: bytes, tmp_path: Path) -> None:
    async with open_peers(tmp_path) as peers, open_played(peers) as (client, peer):
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with pytest.raises(UnknownOutcomeError):
                    await client.call("GET", "x", replay_safe=False)

            tasks.start_soon(call)
            await peer.command()
            await peer.answer(answer)
        again = await peers.accept()
        await again.greet()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("greeting", "info"),
    [
        (b"%1\r\n:1\r\n:2\r\n", b""),
        (hello("7.0.15"), b":5\r\n"),
        (hello("7.0.15"), b"*1\r\n:5\r\n"),
    ],
)
async def test_a_greeting_of_another_shape_is_one_error(greeting: bytes, info: bytes, tmp_path: Path) -> None:
    async with open_peers(tmp_path) as peers, anyio.create_task_group() as tasks:

        async def play() -> None:
            peer = await peers.accept()
            for answer in (greeting, info):
                if answer:
                    await peer.command()
                    await peer.answer(answer)

        tasks.start_soon(play)
        with pytest.raises(UnsupportedServerError, match="is not Redis"):
            async with open_client(peers.url):
                pytest.fail("it was let in")
