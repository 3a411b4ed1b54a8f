# Publishing: what arrives, what is returned, and when it is confirmed.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import decimal
import struct

import pika
import pika.exceptions
import pytest
from pika import frame, spec

CLIENT = "pika " + pika.__version__
CHAPTER = "Publishing and confirms"

EVERYTHING = dict(
    content_type="application/json", content_encoding="identity", delivery_mode=2, priority=5,
    correlation_id="c-1", reply_to="answers", expiration="3600000", message_id="m-1", timestamp=1700000000,
    type="order", user_id="guest", app_id="shop", cluster_id="x",
    headers={
        "text": "grüße", "empty": "", "int": 7, "negative": -3, "long": 1 << 40, "true": True, "false": False,
        "none": None, "bytes": "\x7f", "decimal": decimal.Decimal("3.14"),
        "list": [1, "two", [3], {"four": 4}], "table": {"deep": {"deeper": {"deepest": "ja"}}},
    })


def test_every_property_and_header_type_arrives_as_it_was_sent(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    sent = pika.BasicProperties(**EVERYTHING)
    channel.basic_publish("", queue, b"body", sent)
    _, got, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"body"
    for name in EVERYTHING:
        assert getattr(got, name) == getattr(sent, name), name


# One header of every type that RabbitMQ knows, as bytes; libraries write only some of them.
EVERY_TYPE = b"".join([
    b"\x01tt\x01", b"\x01bb\xfe", b"\x01BB\xfe", b"\x01ss\xff\xfe", b"\x01uu\xff\xfe", b"\x01II\xff\xff\xff\xfe",
    b"\x01ii\xff\xff\xff\xfe", b"\x01ll\xff\xff\xff\xff\xff\xff\xff\xfe",
    b"\x01ff\x3f\xc0\x00\x00", b"\x01dd\x3f\xf8\x00\x00\x00\x00\x00\x00", b"\x01DD\x02\x00\x00\x01\x3a",
    b"\x01SS\x00\x00\x00\x03abc", b"\x01xx\x00\x00\x00\x03\x00\xff\x80",
    b"\x01AA\x00\x00\x00\x0cI\x00\x00\x00\x01S\x00\x00\x00\x02hi",
    b"\x01TT\x00\x00\x00\x00\x65\x53\xf1\x00", b"\x01FF\x00\x00\x00\x04\x02inV", b"\x01VV",
])


def test_the_content_header_is_kept_byte_for_byte(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Queue.Declare(queue="", exclusive=True))
    queue = raw.expect(spec.Queue.DeclareOk).queue

    # class 60, weight 0, size 4, flags: headers and delivery mode
    header = struct.pack(">HHQHI", 60, 0, 4, 0x3000, len(EVERY_TYPE)) + EVERY_TYPE + b"\x02"
    raw.method(1, spec.Basic.Publish(routing_key=queue))
    raw.frame(2, 1, header)
    raw.frame(3, 1, b"body")
    raw.method(1, spec.Basic.Get(queue=queue, no_ack=True))
    raw.expect(spec.Basic.GetOk)
    assert raw.read_payload() == header


def test_a_message_without_properties_arrives_without_properties(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"bare")
    _, got, _ = channel.basic_get(queue, auto_ack=True)
    assert got == pika.BasicProperties()


@pytest.mark.parametrize("size", [0, 1, 131063, 131064, 131065, 300000, 4 << 20])
def test_a_body_of_any_size_arrives_whole(channel, size):
    queue = channel.queue_declare("", exclusive=True).method.queue
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    channel.basic_publish("", queue, body)
    assert channel.basic_get(queue, auto_ack=True)[2] == body


def test_messages_keep_their_order(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    for n in range(500):
        channel.basic_publish("", queue, b"%d" % n)
    got = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(500)]
    assert got == [b"%d" % n for n in range(500)]


def test_a_persistent_publish_is_confirmed(channel, fresh):
    queue = fresh()
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    for n in range(50):
        channel.basic_publish("", queue, b"%d" % n, pika.BasicProperties(delivery_mode=2))
    assert channel.queue_delete(queue).method.message_count == 50


def confirms(raw, count):
    """Collect acks until `count` publishes are covered; returns the covered tags in order."""
    covered, ordered = set(), []
    while len(covered) < count:
        ack = raw.expect(spec.Basic.Ack)
        tags = range(1, ack.delivery_tag + 1) if ack.multiple else [ack.delivery_tag]
        for tag in tags:
            if tag not in covered:
                covered.add(tag)
                ordered.append(tag)
    return ordered


def test_confirms_number_the_publishes_from_one_and_cover_each_once(amqp, fresh):
    queue = fresh()
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Queue.Declare(queue=queue, durable=True))
    raw.expect(spec.Queue.DeclareOk)
    raw.content(1, spec.Basic.Publish(routing_key=queue), pika.BasicProperties(), b"before confirm.select")
    raw.method(1, spec.Confirm.Select())
    raw.expect(spec.Confirm.SelectOk)
    for n in range(1000):
        raw.content(1, spec.Basic.Publish(routing_key=queue), pika.BasicProperties(delivery_mode=1 + n % 2), b"x")
    assert sorted(confirms(raw, 1000)) == list(range(1, 1001))
    raw.method(1, spec.Queue.Delete(queue=queue))
    assert raw.expect(spec.Queue.DeleteOk).message_count == 1001


def test_what_leads_nowhere_is_confirmed_too(channel, fresh):
    channel.confirm_delivery()
    channel.basic_publish("amq.direct", fresh("nowhere"), b"x")


def test_a_mandatory_message_that_leads_nowhere_is_returned_whole(channel, fresh):
    returned = []
    channel.add_on_return_callback(lambda ch, method, properties, body: returned.append((method, properties, body)))
    key = fresh("nowhere")
    channel.basic_publish("amq.direct", key, b"come back", pika.BasicProperties(message_id="m", headers={"a": 1}),
                          mandatory=True)
    channel.queue_declare("", exclusive=True)
    channel.connection.process_data_events(time_limit=0)
    (method, properties, body), = returned
    assert (method.reply_code, method.reply_text) == (312, "NO_ROUTE")
    assert (method.exchange, method.routing_key) == ("amq.direct", key)
    assert (properties.message_id, properties.headers, body) == ("m", {"a": 1}, b"come back")


def test_the_return_comes_before_the_confirm(amqp, fresh):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Confirm.Select())
    raw.expect(spec.Confirm.SelectOk)
    raw.content(1, spec.Basic.Publish(exchange="amq.direct", routing_key=fresh("nowhere"), mandatory=True),
                pika.BasicProperties(), b"x")
    raw.expect(spec.Basic.Return)
    assert raw.read().body_size == 1
    assert raw.read().fragment == b"x"
    assert raw.expect(spec.Basic.Ack).delivery_tag == 1


def test_the_library_reports_an_unroutable_message(channel, fresh):
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", fresh("nowhere"), b"x", mandatory=True)


def test_a_mandatory_message_that_is_routed_is_not_returned(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"x", mandatory=True)


def test_immediate_is_not_implemented(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.content(1, spec.Basic.Publish(routing_key="x", immediate=True), pika.BasicProperties(), b"x")
    close = raw.expect(spec.Connection.Close)
    assert (close.reply_code, close.reply_text) == (540, "NOT_IMPLEMENTED - immediate=true")


def test_a_message_in_another_name_is_406(channel, channel_refused):
    with channel_refused(406, "PRECONDITION_FAILED - user_id property set to 'eve' but authenticated user was 'guest'"):
        channel.basic_publish("amq.direct", "k", b"x", pika.BasicProperties(user_id="eve"))
        channel.queue_declare("", exclusive=True)


def test_an_expiration_that_is_no_number_is_406(channel, channel_refused):
    with channel_refused(406) as closed:
        channel.basic_publish("amq.direct", "k", b"x", pika.BasicProperties(expiration="soon"))
        channel.queue_declare("", exclusive=True)
    assert closed.text.startswith("PRECONDITION_FAILED - invalid expiration 'soon'")


def test_a_message_above_the_limit_is_406(amqp, peer):
    """The limit is 16 MiB as in RabbitMQ 4; RabbitMQ 3.10 takes 128 MiB."""
    if peer == "rabbitmq":
        pytest.skip("RabbitMQ 3.10 has a larger limit")
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Basic.Publish(exchange="amq.direct", routing_key="k"))
    raw.send(frame.Header(1, (16 << 20) + 1, pika.BasicProperties()).marshal())
    body = b"x" * (131072 - 8)
    left = (16 << 20) + 1
    try:
        while left:
            raw.send(frame.Body(1, body[:left]).marshal())
            left -= min(left, len(body))
    except OSError:
        pass                            # refused early is as good
    close = raw.expect(spec.Channel.Close)
    assert close.reply_code == 406
    assert close.reply_text == "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216"


def test_confirm_select_may_be_repeated(channel):
    raw = channel
    raw.confirm_delivery()
    raw._impl.confirm_delivery(lambda *_: None)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x")


def test_a_large_message_between_small_ones_is_confirmed_and_arrives(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    sizes = [10, 8 << 20, 10, 2 << 20, 0]
    for size in sizes:
        channel.basic_publish("", queue, b"y" * size)
    assert [len(channel.basic_get(queue, auto_ack=True)[2]) for _ in sizes] == sizes
