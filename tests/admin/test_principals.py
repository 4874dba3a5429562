"""Who may do what: roles are sets, and patterns are of the whole text."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.admin.principals import PERMISSIONS, ROLES, Principal, fits
from am2z_trio.model.errors import ConfigurationError


def test_roles_are_sets_of_permissions_each_within_the_next():
    assert ROLES["viewer"] < ROLES["operator"] < ROLES["admin"] == frozenset(PERMISSIONS)
    assert ROLES["viewer"] == {"view"}
    assert not ROLES["operator"] & {"edit", "purge", "restore_state", "audit"}


def test_a_principal_has_those_of_its_role_or_its_own():
    assert Principal(name="ada", role="operator").may == ROLES["operator"]
    own = Principal(name="ada", role="on call", permissions=frozenset({"view", "cancel"}))
    assert own.may == {"view", "cancel"}


def test_what_is_of_other_sessions_and_queues_is_none_of_its_business():
    ada = Principal(name="ada", role="operator", sessions=("team-a/*",), queues=("charge", "refund-*"))
    assert not ada.sees_all
    assert ada.is_for(queue="charge", session="team-a/1")
    assert not ada.is_for(queue="charge", session="team-b/1")
    assert not ada.is_for(queue="mail", session="team-a/1")
    # A job without a session is nobody's but theirs who see all.
    assert not ada.is_for(queue="charge", session="")
    assert Principal(name="a", role="viewer", sessions=("",)).is_for(session="")
    assert Principal(name="a", role="viewer").is_for(queue="x", session="")
    # What is done to a queue is done to all of its sessions.
    assert ada.is_for(queue="charge")
    assert not ada.is_for_all(queue="charge")
    assert ada.is_for_all(queue="charge", session="team-a/1")
    by_queue = Principal(name="a", role="viewer", queues=("charge",))
    assert by_queue.is_for_all(queue="charge")
    assert not by_queue.is_for_all(session="team-a/1")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"name": ""}, "principal.name"),
        ({"name": 5}, "principal.name"),
        ({"role": "root"}, "principal.role"),
        ({"permissions": frozenset({"fly"})}, "principal.permissions"),
        ({"permissions": {"view"}}, "principal.permissions"),
        ({"sessions": "alice"}, "principal.sessions"),
        ({"sessions": (5,)}, "principal.sessions"),
        ({"queues": ["charge"]}, "principal.queues"),
    ],
)
def test_what_is_no_principal_is_told_with_field_and_rule(arguments: dict[str, Any], field: str):
    with pytest.raises(ConfigurationError, match=re.escape(field)):
        given: dict[str, Any] = {"name": "ada", "role": "viewer", **arguments}
        Principal(**given)


TEXTS = st.text(st.sampled_from("ab*[?\n/{}\u202e"), max_size=8)


@given(TEXTS, TEXTS)
def test_a_star_stands_for_any_characters_and_everything_else_for_itself(text: str, pattern: str):
    by_regex = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    assert fits(text, pattern) == (by_regex.fullmatch(text) is not None)


def test_a_pattern_of_many_stars_takes_no_longer_than_others():
    assert not fits("a" * 20_000, "*a" * 500 + "b")
