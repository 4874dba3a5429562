"""A URL says where Redis is; what is wrong with it is said in one error, without the password."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import QueueRuntime
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.redis_options import RedisOptions


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0, "tls": False}),
        ("redis://example:1234/3", {"host": "example", "port": 1234, "db": 3}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("redis://user:p%40ss%2F@h", {"username": "user", "password": "p@ss/", "host": "h"}),
        ("redis://:secret@h", {"username": "", "password": "secret"}),
        ("rediss://h?tls_verify=false", {"tls": True, "tls_verify": False}),
        ("rediss://h?ca_file=/a.pem", {"tls": True, "tls_verify": True, "ca_file": "/a.pem"}),
        ("unix:///run/r.sock?db=2", {"path": "/run/r.sock", "db": 2}),
        ("unix://u:p@/run/a%20b.sock", {"path": "/run/a b.sock", "username": "u", "password": "p"}),
        ("redis://h?connect_timeout=0.5&call_timeout=3", {"connect_timeout": 0.5, "call_timeout": 3.0}),
        ("redis://h?max_pending_bytes=10&allow_eviction=1&client_name=x", {"max_pending_bytes": 10}),
    ],
)
def test_url_is_read(url: str, fields: dict[str, Any]) -> None:
    options = RedisOptions.from_url(url)
    assert {name: getattr(options, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("url", "field", "words"),
    [
        ("http://h", "url", "must begin with redis://"),
        ("localhost:6379", "url", "must begin with redis://"),
        ("", "url", "must begin with redis://"),
        ("redis://h:port", "url", "check brackets and port"),
        ("redis://h:99999", "url", "check brackets and port"),
        ("redis://h:0", "port", "from 1 to 65535"),
        ("redis://[::1", "url", "check brackets and port"),
        ("redis://h/name", "url", "number of a database"),
        ("redis://h/-1", "url", "number of a database"),
        ("redis://h?db=x", "db", "whole number"),
        ("redis://h?timeout=3", "url", "unknown parameter 'timeout'"),
        ("redis://h?call_timeout=soon", "call_timeout", "number of seconds"),
        ("redis://h?call_timeout=0", "call_timeout", "above 0"),
        ("redis://h?call_timeout=inf", "call_timeout", "number of seconds"),
        ("redis://h?tls_verify=perhaps", "tls_verify", "true or false"),
        ("redis://h#frag", "url", "percent-encode '#'"),
        ("unix://run/r.sock", "url", "unix:///path"),
        ("unix://", "url", "unix:///path"),
        ("unix:///a%00b", "path", "without NUL"),
        ("redis://\udcff@h", "username", "half a surrogate pair"),
        ("redis://u:\udcff@h", "password", "Unicode"),
        (b"redis://h", "url", "must be a text"),
    ],
)
def test_bad_url_is_one_clear_error(url: Any, field: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        RedisOptions.from_url(url)
    assert caught.value.context["field"] == field


@pytest.mark.parametrize(
    "fields",
    [
        {"host": ""},
        {"host": 3},
        {"port": "6379"},
        {"port": True},
        {"db": -1},
        {"password": None},
        {"tls": 1},
        {"tls": True, "path": "/run/r.sock"},
        {"key_file": "key.pem"},
        {"connect_timeout": 0},
        {"max_pending_bytes": 0},
    ],
)
def test_bad_field_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisOptions(**fields)
    assert caught.value.context["field"] in fields


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@h:port",
        "redis://user:hunt/er2@h:6379",
        "redis://user:hunt#er2@h",
        "redis://user:hunter2@h?password=hunter2",
        "redis://h?password=hunter2",
        "redis://user:hunter2@h/x",
        "redis://user:hunter2@[h",
        "redis://user:hunter2@h?db=x",
        "ftp://user:hunter2@h",
        "user:hunter2@h",
        "//user:hunter2@h",
        "hunter2",
        "default:hunter2@redis://h",
        "redis://:hunter2",
        "redis://user:hunter2",
        "redis://user:hunter2/0",
        "redis://h/hunter2",
        "redis://:12?hunt=er2@h",
        "redis://:12?hunter2@h",
        "redis://:12#hunter2@h",
        "redis://:12?db=hunter2@h",
        "redis://h?hunter2",
        "redis://h?hunter2=",
        "redis://h?password=x@hunter2",
        "redis://h?x=1#@hunter2",
        "redis://user%3Ahunter2%40h",
        "redis://user%3Ahunter2%40h:6379",
        "redis://user:x%2F@hunter2%40h",
        "redis:/user:hunter2@h",
        "redis:user:hunter2@h",
        "Redis://user:hunter2@h:x",
        "redis+unix://user:hunter2@/s",
        "unix+tls://user:hunter2@/s",
        "unix://user:hunter2@h/s",
        "unix://hunter2",
        "unix://user:hunter2",
        "redis://user:\x1b[2Jhunter2@[h",
        "redis://\nuser:hunter2@h/x",
        "redis://u:hunter2@h\0",
        "redis://hunter2\udcff@h",
        "redis://hunter2%00@h",
    ],
)
def test_a_refused_url_does_not_show_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisOptions.from_url(url)
    everything = "".join(traceback.format_exception(caught.value, limit=0)) + repr(caught.value.context)
    everything += f"{caught.value.__cause__} {caught.value.__context__}"
    assert "hunt" not in everything
    assert "er2" not in everything


def test_password_is_not_shown() -> None:
    options = RedisOptions.from_url("redis://me:hunter2@h:1/2")
    assert options.display == "redis://me:***@h:1/2"
    assert repr(options) == "RedisOptions('redis://me:***@h:1/2')"
    assert "hunter2" not in str(options) + repr([options]) + f"{options}" + str(options.__rich_repr__())
    # A user without a password is one that was written in the wrong place, more often than not.
    assert RedisOptions.from_url("redis://hunter2@h").display == "redis://***@h:6379/0"
    assert RedisOptions.from_url("unix://:p@/s?db=1").display == "unix://:***@/s?db=1"


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "redis://:hunter2@h"},
        {"host": "me:hunter2@h"},
        {"host": "hunter2\0"},
        {"host": "hunter2\ud800"},
        {"username": "hunter2\0"},
        {"username": "hunter2\ud800"},
        {"password": "hunter2\ud800"},
        {"path": "unix://:hunter2@/s"},
    ],
)
def test_a_password_in_the_wrong_field_is_not_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisOptions(**fields)
    assert "hunter2" not in f"{caught.value} {caught.value.context}"


@pytest.mark.parametrize(
    "url", [b"redis://:hunter2@h", ["redis://:hunter2@h"], {"url": "redis://:hunter2@h"}]
)
def test_a_url_that_is_no_text_is_not_shown(url: Any) -> None:
    for take in (QueueRuntime, RedisOptions.from_url):
        with pytest.raises(ConfigurationError) as caught:
            take(url)
        assert "hunter2" not in f"{caught.value} {caught.value.context}"


@given(st.text(max_size=20), st.text(max_size=5), st.text(max_size=5))
def test_a_url_that_is_refused_shows_nothing_before_its_last_at_sign(
    before: str, between: str, after: str
) -> None:
    for url in (f"{before}hunter2{between}@{after}", f"redis://{before}:hunter2{between}@{after}"):
        shown = ""
        try:
            shown = RedisOptions.from_url(url).display
        except ConfigurationError as error:
            shown = f"{error} {error.context}"
        assert "hunter2" not in shown


@given(st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text))
def test_any_password_can_be_percent_encoded(password: str) -> None:
    from urllib.parse import quote

    options = RedisOptions.from_url(f"redis://:{quote(password, safe='')}@h")
    assert options.password == password


@given(st.text(max_size=40))
def test_no_text_is_anything_but_options_or_a_configuration_error(text: str) -> None:
    for url in (text, f"redis://{text}", f"unix:///{text}", f"redis://h?{text}"):
        with suppress(ConfigurationError):
            RedisOptions.from_url(url)
