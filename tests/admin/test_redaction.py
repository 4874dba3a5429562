"""What of a payload is seen: rules by path, and nothing that no rule shows to those who may only look."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import processor
from am2z_trio.admin import Admin, NotPermittedError, Principal
from am2z_trio.admin.redaction import HIDDEN, MOST_DEEP, MOST_VALUES, Redaction, Rules
from am2z_trio.model.errors import ConfigurationError, ValidationError


@processor
async def signed(order: dict[str, Any]) -> dict[str, Any]:
    return order


ORDER: dict[str, Any] = {
    "order": {"id": 5, "card": "4111", "Password": "p"},
    "items": [{"price": 1, "name": "a"}, {"price": 2, "token": {"deep": "t"}}],
    "ada@example.com": True,
}


def test_who_may_only_look_sees_nothing_that_no_rule_shows():
    shown = Redaction().shown(ORDER, revealed=False)
    assert (shown.value, shown.hidden, shown.cut) == (None, 8, False)
    # Not even the keys, which may be data.
    shown = Redaction(Rules(show=("order.id", "items.*.price"))).shown(ORDER, revealed=False)
    assert shown.value == {"order": {"id": 5}, "items": [{"price": 1}, {"price": 2}]}


def test_who_reveals_sees_all_but_what_rules_hide():
    shown = Redaction().shown(ORDER, revealed=True)
    assert shown.hidden == 2
    assert shown.value == {
        "order": {"id": 5, "card": "4111", "Password": HIDDEN},
        "items": [{"price": 1, "name": "a"}, {"price": 2, "token": HIDDEN}],
        "ada@example.com": True,
    }
    shown = Redaction(Rules(hide=("order.card",))).shown(ORDER, revealed=True)
    assert shown.value["order"] == {"id": 5, "card": HIDDEN, "Password": "p"}


def test_what_is_hidden_is_not_shown_by_another_rule():
    rules = Rules(show=("order.**",), hide=("**.card",))
    assert Redaction(rules).shown(ORDER, revealed=False).value == {
        "order": {"id": 5, "card": HIDDEN, "Password": "p"}
    }


def test_a_payload_that_is_one_value():
    assert Redaction().shown(5, revealed=False).value is None
    assert Redaction().shown(5, revealed=True).value == 5
    assert Redaction(Rules(show=("**",))).shown("a", revealed=False).value == "a"


def test_much_and_deep_is_cut():
    shown = Redaction().shown(list(range(MOST_VALUES * 2)), revealed=True)
    assert shown.cut
    assert len(shown.value) < MOST_VALUES
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    shown = Redaction().shown(deep, revealed=True)
    assert shown.cut
    assert str(shown.value).count("[") <= MOST_DEEP + 1


@pytest.mark.parametrize("path", ["", "a..b", "**.a.**", ".".join("a" * 40), 5])
def test_what_is_no_path_is_refused(path: Any):
    with pytest.raises(ConfigurationError, match=r"redaction\.show"):
        Rules(show=(path,))


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(0, 9), st.text("ab", max_size=2), st.binary(max_size=2)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "secret"]), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = st.lists(st.sampled_from(["a", "b", "*", "0"]), min_size=1, max_size=3).map(".".join)


def leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list) else 1


@given(VALUES, st.lists(PATHS, max_size=2).map(tuple))
def test_a_secret_never_leaves(value: Any, paths: tuple[str, ...]):
    def secrets(value: Any) -> list[Any]:
        if isinstance(value, dict):
            own = [one for key, one in value.items() if key == "secret"]
            return own + [deep for one in value.values() for deep in secrets(one)]
        return [deep for one in value for deep in secrets(one)] if isinstance(value, list) else []

    redaction = Redaction(Rules(show=paths))
    for revealed in (True, False):
        shown = redaction.shown(value, revealed=revealed)
        assert all(one == HIDDEN for one in secrets(shown.value))
    everything = Redaction(Rules(hide=())).shown(value, revealed=True)
    assert (everything.value, everything.hidden) == (value, 0)


def test_what_was_hidden_is_put_back_into_what_was_made_of_a_payload():
    redaction = Redaction(Rules(hide=("**.token", "cards.*.number")))
    original = {"token": b"s3", "n": 1, "cards": [{"number": 4111, "of": "a"}, {"number": 4222, "of": "b"}]}
    shown = redaction.shown(original, revealed=True).value
    assert shown["token"] == HIDDEN
    edited = {**shown, "n": 2, "note": HIDDEN}
    assert redaction.put_back(edited, original) == {**original, "n": 2, "note": HIDDEN}
    with pytest.raises(ValidationError, match=r"state: cards\.0\.number says \[hidden\]"):
        redaction.put_back(shown, {"token": "t"})
    assert redaction.put_back({"token": "mine"}, original) == {"token": "mine"}
    nest: Any = HIDDEN
    for _ in range(600):
        nest = [nest]
    assert redaction.put_back(nest, original) is not None


@pytest.mark.anyio
async def test_an_edited_job_is_given_what_was_hidden_from_who_edits_it(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(signed)
        await runtime.pause(signed)
        job = await runtime.submit(signed, {"token": "s3cret", "n": 1})
        desk = Admin(runtime, principal=Principal(name="ada", role="admin"))
        shown = (await desk.show(job.id, reveal=True)).input.value
        assert shown == {"token": HIDDEN, "n": 1}
        edited = await desk.edit(job.id, {**shown, "n": 2})
        await runtime.resume(signed)
        assert (await (await runtime.job(edited.job)).result()).unwrap() == {"token": "s3cret", "n": 2}
        viewer = Admin(runtime, principal=Principal(name="v", role="viewer"))
        with pytest.raises(NotPermittedError):
            await viewer.edit(job.id, {"card": {"token": HIDDEN}})
