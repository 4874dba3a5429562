"""What a node asks the store about its claims, where the store refuses to answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.node.holdings import Holdings
from am2z_trio.engine.work.claims import Claims
from am2z_trio.model.errors import ServerReplyError

pytestmark = pytest.mark.anyio


class Refusing:
    """A store that refuses some calls, and then knows of nothing."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked: list[list[tuple[str, str]]] = []

    async def reconcile(self, pairs: Any) -> list[Any]:
        if self.refusals:
            self.refusals -= 1
            raise ServerReplyError("Redis answered: LOADING")
        self.asked.append(list(pairs))
        return []

    async def holdings(self) -> list[tuple[str, str]]:
        return []


class Holding(SimpleNamespace):
    """Whoever holds a claim."""

    stops_when_cut_off = True


def claim(id: str) -> Claim:
    grant: Any = SimpleNamespace(spec=SimpleNamespace(id=id), token=f"token of {id}", promised=())
    holder: Any = Holding()
    return Claim(grant, holder, 0.0)


async def test_the_store_hears_of_claims_that_were_given_up_though_it_refuses_at_first():
    store: Any = Refusing(2)
    claims = Claims(lambda: 0.0)
    holdings = Holdings(current_host(), store, claims)
    for id in ("a", "b"):
        one = claim(id)
        claims.add(one)
        assert claims.give_up("cut off") == 1
        claims.remove(one)
        with pytest.raises(ServerReplyError):
            await holdings.look()
    await holdings.look()
    assert store.asked == [[("a", "token of a"), ("b", "token of b")]]
    assert claims.given_up() == []


def test_a_claim_that_nobody_holds_any_more_is_not_left_to_the_garbage_collector():
    one = claim("a")
    assert one.root is one
    gone = ref(one.holder)
    del one
    assert gone() is None
