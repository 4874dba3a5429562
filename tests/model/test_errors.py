"""Errors cross process borders whole."""

from __future__ import annotations

import msgspec
import pytest

from am2z_trio import AM2ZError, BusinessError, NetworkError, ProcessorExecutionError
from am2z_trio.model.codec import RecordDecoder, encode_record
from am2z_trio.model.error_records import ErrorRecord, error_of, record_of
from am2z_trio.model.transitions import TERMINAL, IllegalTransitionError, follow

decode = RecordDecoder[ErrorRecord](ErrorRecord)


# The engine's own; other modules of the suite register theirs.
CLASSES = [cls for _, cls in sorted(AM2ZError.by_code.items()) if cls.__module__ == AM2ZError.__module__]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_arrives_as_itself(cls: type[AM2ZError]):
    sent = cls("what happened", context={"job": "j1", "bytes": 3})
    got = error_of(decode(encode_record(record_of(sent))))
    assert type(got) is cls
    assert (got.message, got.code, got.category, got.severity) == (
        sent.message,
        sent.code,
        sent.category,
        sent.severity,
    )
    assert got.retryable == sent.retryable
    # A user's own arrives as it is.
    assert got.context == {"job": "j1", "bytes": 3 if cls is BusinessError else "3"}


def test_cause_and_traceback_arrive_as_text():
    try:
        raise KeyError("shelf")
    except KeyError as raised:
        sent = ProcessorExecutionError("it failed", cause=raised, retryable=False)
    got = error_of(decode(encode_record(record_of(sent))))
    assert str(got.cause) == "KeyError: 'shelf'"
    assert "test_errors.py" in got.remote_traceback
    assert not got.retryable
    again = error_of(record_of(got))
    assert again.remote_traceback == got.remote_traceback


def test_an_unknown_code_is_still_an_error():
    record = record_of(NetworkError("far away"))
    got = error_of(msgspec.structs.replace(record, code="FROM_THE_FUTURE"))
    assert type(got) is AM2ZError
    assert got.message == "far away"


def test_nothing_leads_out_of_a_terminal_status():
    for status in TERMINAL:
        for transition in ("claim", "complete", "retry", "release", "reap", "cancel", "expire", "promote"):
            with pytest.raises(IllegalTransitionError):
                follow(status, transition)
