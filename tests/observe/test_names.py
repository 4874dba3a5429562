"""Names of spans' attributes and of metrics are those of the conventions."""

from __future__ import annotations

from opentelemetry.semconv import schemas
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv._incubating.metrics import messaging_metrics as metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from am2z_trio.observe.otel import names


def test_attributes_are_those_of_the_conventions():
    assert names.SYSTEM == messaging.MESSAGING_SYSTEM
    assert names.OPERATION_NAME == messaging.MESSAGING_OPERATION_NAME
    assert names.OPERATION_TYPE == messaging.MESSAGING_OPERATION_TYPE
    assert names.DESTINATION == messaging.MESSAGING_DESTINATION_NAME
    assert names.MESSAGE_ID == messaging.MESSAGING_MESSAGE_ID
    assert names.CONVERSATION_ID == messaging.MESSAGING_MESSAGE_CONVERSATION_ID
    assert names.CLIENT_ID == messaging.MESSAGING_CLIENT_ID
    assert names.MESSAGE_COUNT == messaging.MESSAGING_BATCH_MESSAGE_COUNT
    assert names.SERVER_ADDRESS == server_attributes.SERVER_ADDRESS
    assert names.SERVER_PORT == server_attributes.SERVER_PORT
    assert names.ERROR_TYPE == error_attributes.ERROR_TYPE


def test_types_of_operations_are_those_of_the_conventions():
    known = messaging.MessagingOperationTypeValues
    assert {names.CREATE, names.SEND, names.PROCESS, names.SETTLE} <= {one.value for one in known}


def test_metrics_are_those_of_the_conventions():
    assert names.OPERATION_DURATION == metrics.MESSAGING_CLIENT_OPERATION_DURATION
    assert names.SENT_MESSAGES == metrics.MESSAGING_CLIENT_SENT_MESSAGES
    assert names.CONSUMED_MESSAGES == metrics.MESSAGING_CLIENT_CONSUMED_MESSAGES
    assert names.PROCESS_DURATION == metrics.MESSAGING_PROCESS_DURATION


def test_the_schema_is_one_that_there_is():
    assert names.SCHEMA in [one.value for one in schemas.Schemas]


def test_what_is_our_own_is_in_no_room_of_others():
    own = [names.ATTEMPT, names.DELIVERY, names.PARENT, names.SCHEDULE, names.OUTCOME, names.RETRY_DELAY]
    assert all(name.startswith("am2z.") for name in own)
