"""What jobs have logged: kept with their records, the last lines of each, and of no claim that is over."""

from __future__ import annotations

from am2z_trio.model.records import MAX_LINES_BYTES, KeptLines, LogLine

from .bench import Bench
from .builders import job


def lines(*texts: str) -> list[LogLine]:
    return [LogLine.of(1_700_000_000_000 + n, "INFO", text) for n, text in enumerate(texts)]


def told(id: str, token: str, *texts: str) -> KeptLines:
    return KeptLines(id=id, token=token, lines=lines(*texts))


class LogCases:
    async def test_what_a_job_logs_is_kept_in_order(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k")])
        one, other = await a.claim(2)
        logs = a.store.logs
        assert await logs.read("j") == []
        assert await logs.read("nobody") is None
        assert await logs.keep([told("j", one.token, "a", "b é"), told("k", other.token, "x")], 10) == [
            True,
            True,
        ]
        assert await logs.keep([told("j", one.token, "c")], 10) == [True]
        found = await logs.read("j")
        assert found is not None
        assert [(line.level, line.text) for line in found] == [("INFO", "a"), ("INFO", "b é"), ("INFO", "c")]
        assert [line.at for line in found] == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_000]
        assert [line.text for line in await logs.read("k") or []] == ["x"]

    async def test_only_the_claim_of_a_job_adds_to_its_log(self, bench: Bench) -> None:
        a = await bench.node()
        logs = a.store.logs
        await a.store.enqueue([job("j"), job("k")])
        old = await a.claim_one()
        assert await logs.keep([told("j", old.token, "first")], 10) == [True]
        await a.settle(old, "retry")
        # What it was settled with may arrive behind that.
        assert await logs.keep([told("j", old.token, "late")], 10) == [True]
        new = await a.claim_one()
        while new.spec.id != "j":
            new = await a.claim_one()
        refused = [
            told("j", "", "no"),
            told("j", "1:x", "no"),
            told("k", "", "no"),
            told("nobody", "1:x", "no"),
        ]
        assert await logs.keep(refused, 10) == [False] * 4
        assert await logs.keep([told("j", new.token, "second")], 10) == [True]
        await a.settle(new)
        assert await logs.keep([told("j", new.token, "last")], 10) == [True]
        assert [line.text for line in await logs.read("j") or []] == ["first", "late", "second", "last"]
        assert await logs.read("nobody") is None

    async def test_a_claim_that_was_lost_adds_no_more(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        old = await a.claim_one()
        await a.store.leave()
        new = await b.claim_one()
        assert await b.store.logs.keep([told("j", old.token, "a zombie's")], 10) == [False]
        assert await b.store.logs.keep([told("j", new.token, "its own")], 10) == [True]
        assert [line.text for line in await b.store.logs.read("j") or []] == ["its own"]

    async def test_the_last_lines_stay(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        for n in range(5):
            assert await a.store.logs.keep([told("j", grant.token, f"{n}", f"{n}'")], 3) == [True]
        assert [line.text for line in await a.store.logs.read("j") or []] == ["3'", "4", "4'"]
        await a.store.logs.keep([told("j", grant.token, *(f"{n}" for n in range(9)))], 1)
        assert [line.text for line in await a.store.logs.read("j") or []] == ["8"]

    async def test_their_bytes_are_bounded(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        for n in range(60):
            assert await a.store.logs.keep([told("j", grant.token, f"{n} " + "é" * 900)], 1000) == [True]
        found = [line.text for line in await a.store.logs.read("j") or []]
        assert found[-1].startswith("59 ")
        assert all(text.endswith("é") for text in found)
        numbers = [int(text.split()[0]) for text in found]
        assert numbers == [*range(60 - len(found), 60)]
        size = sum(len(f"1700000000000 INFO {text}\n".encode()) for text in found)
        assert MAX_LINES_BYTES - 2000 < size <= MAX_LINES_BYTES

    async def test_lines_that_are_sent_again_are_there_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        for _ in range(2):
            assert await a.store.logs.keep([told("j", grant.token, "a", "b")], 10) == [True]
        assert [line.text for line in await a.store.logs.read("j") or []] == ["a", "b"]

    async def test_no_line_forges_another_one(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        forged = "x\n1 ERROR all is lost\r\x1b[2J\u2028\ud800"
        assert await a.store.logs.keep([told("j", grant.token, forged, "", " ")], 10) == [True]
        found = await a.store.logs.read("j")
        assert found == lines(forged, "", " ")
