"""The table of the API: everything that `Admin` can, under one path each, and described as it is."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from am2z_trio.admin import PERMISSIONS, Admin
from am2z_trio.model.errors import AM2ZError
from am2z_trio.web.api.openapi import document
from am2z_trio.web.api.routes import Route
from am2z_trio.web.api.table import ELSEWHERE, ROUTES

DOCUMENT = json.loads(document(ROUTES, server="/x/api/v1", cookie="__Host-am2z"))


def test_whatever_admin_can_has_a_route_or_a_reason_why_not():
    public = {name for name, _ in inspect.getmembers(Admin, callable) if not name.startswith("_")}
    routed = {route.method for route in ROUTES}
    assert routed | ELSEWHERE.keys() == public
    assert not routed & ELSEWHERE.keys()


def test_each_route_says_what_it_takes_and_no_two_are_the_same():
    assert len({(route.verb, route.path) for route in ROUTES}) == len(ROUTES)
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        assert route.permissions
        assert set(route.permissions) <= set(PERMISSIONS)
        assert route.text, route.path
        # To look takes the permission to look, or that to read what it reads.
        assert route.verb != "GET" or route.permissions in (("view",), ("audit",))


def test_the_document_is_openapi():
    validator = pytest.importorskip("openapi_spec_validator", reason="of the extra `test`")
    validator.validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["servers"] == [{"url": "/x/api/v1"}]
    operations = [one for path in DOCUMENT["paths"].values() for one in path.values()]
    assert {one["operationId"] for one in operations} == {route.name for route in ROUTES}


def test_the_document_says_of_fields_what_stands_below_them():
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["JobRow"]["properties"]["size"]["description"].startswith(
        "Bytes of what its node is given"
    )
    assert schemas["JobRow"]["properties"]["ran"]["description"].startswith("Milliseconds from the beginning")
    # What happened to a job is told by names, not by places in a list.
    assert schemas["TrailEntry"]["type"] == "object"
    assert set(schemas["TrailEntry"]["required"]) == {"at", "what", "node", "attempt", "code", "text"}


def test_no_word_of_a_path_stands_where_an_id_may_be_the_same_word():
    for route in ROUTES:
        words = tuple("count" if part.startswith("{") else part for part in route.parts)
        assert [one for one in ROUTES if one.verb == route.verb and one.matched(words) is not None] == [route]


def named(name: str) -> Route:
    return next(route for route in ROUTES if route.name == name)


@pytest.mark.parametrize(
    ("name", "query", "field"),
    [
        ("search", "limit=many", "limit"),
        ("search", "limit=1&limit=2", "limit"),
        ("search", "nothing=1", "nothing"),
        ("search", "query=%ff", "query"),
        ("search", "&".join(f"a{n}=1" for n in range(300)), "query"),
        ("preview_bulk", "query=queue:a", "action"),
        ("preview_bulk", "action=shred&query=queue:a", "action"),
    ],
)
def test_what_a_query_says_wrongly_is_named(name: str, query: str, field: str):
    assert field_of(lambda: named(name).asked.of_query(query)) == field


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("enqueue", b"", "processor"),
        ("enqueue", b"{", "body"),
        ("enqueue", b"\xff", "body"),
        ("enqueue", b"[1]", "body"),
        ("enqueue", b"[" * 100_000, "body"),
        ("enqueue", b'{"processor": 5}', "processor"),
        ("enqueue", b'{"processor": "p", "sate": 1}', "sate"),
        ("enqueue", b'{"processor": "p", "options": {"delay": "1"}}', "options.delay"),
        ("enqueue", b'{"processor": "p", "options": {"attempts": 0}}', "JobOptions.attempts"),
        ("cancel", b'{"reason": null}', "reason"),
        ("begin_bulk", b'{"action": "shred", "query": "queue:a"}', "action"),
    ],
)
def test_what_a_body_says_wrongly_is_named(name: str, body: bytes, field: str):
    assert field_of(lambda: named(name).asked.of_body("", body)) == field


def test_what_acts_takes_no_parameters():
    assert field_of(lambda: named("cancel").asked.of_body("reason=x", b"")) == "reason"


def test_a_text_in_a_query_is_that_text_whatever_it_says():
    said = named("events").asked.of_query("session=null&job=5&since=&limit=7")
    assert (said["session"], said["job"], said["since"], said["before"], said["limit"]) == (
        "null",
        "5",
        "",
        None,
        7,
    )


def test_a_list_in_a_query_is_said_one_by_one():
    assert named("session_rows").asked.of_query("sessions=a&sessions=b") == {"sessions": ["a", "b"]}
    assert named("session_rows").asked.of_query("sessions=a") == {"sessions": ["a"]}


def field_of(read: Callable[[], Any]) -> object:
    with pytest.raises(AM2ZError) as raised:
        read()
    assert raised.value.context["rule"]
    return raised.value.context["field"]


def test_payloads_that_json_has_no_words_for_are_told_all_the_same():
    from am2z_trio.model.as_json import encoded

    assert json.loads(encoded({"a": float("inf"), "b": b"\xff", "c": {1: 2}})) == {
        "a": None,
        "b": "/w==",
        "c": {"1": 2},
    }
    assert json.loads(encoded({(1, 2): "x", "half": "\ud800"})) == {"(1, 2)": "x", "half": "?"}
    assert json.loads(encoded({b"k": 1, None: 2}))["None"] == 2
