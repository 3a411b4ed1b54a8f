# Streams: read by offset, by everybody, again and again.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import datetime
import time

import pika
import pytest

CLIENT = "pika " + pika.__version__
CHAPTER = "Streams"

STREAM = {"x-queue-type": "stream"}


@pytest.fixture
def stream(amqp, fresh):
    """The name of a stream with the messages 0 to 9."""
    name = fresh()
    channel = amqp.channel()
    channel.confirm_delivery()
    channel.queue_declare(name, durable=True, arguments=STREAM)
    for n in range(10):
        channel.basic_publish("", name, b"%d" % n)
    yield name
    amqp.channel().queue_delete(name)


def reader(amqp, inbox, stream, prefetch=100, **arguments):
    channel = amqp.channel()
    channel.basic_qos(prefetch_count=prefetch)
    return inbox(channel, stream, arguments=dict(("x-stream-" + k.replace("_", "-"), v) for k, v in arguments.items()))


@pytest.mark.parametrize("offset, expected", [("first", range(10)), (4, range(4, 10)), ("1h", range(10)), (50, [])])
def test_a_reader_begins_where_it_says(amqp, inbox, stream, offset, expected):
    box = reader(amqp, inbox, stream, offset=offset)
    box.wait(len(expected))
    box.nothing_more()
    assert box.bodies() == [b"%d" % n for n in expected]
    assert [p.headers["x-stream-offset"] for _, p, _ in box.got] == list(expected)


def test_a_reader_may_begin_at_a_time(amqp, inbox, stream):
    time.sleep(1.1)                     # a timestamp has seconds
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    channel = amqp.channel()
    channel.confirm_delivery()
    channel.basic_publish("", stream, b"later")
    box = reader(amqp, inbox, stream, offset=now)
    assert [body for _, _, body in box.wait(1)] == [b"later"]


def test_without_an_offset_a_reader_is_given_what_comes(amqp, inbox, stream):
    box = reader(amqp, inbox, stream)
    box.nothing_more()
    amqp.channel().basic_publish("", stream, b"new")
    box.wait(1)
    assert box.bodies() == [b"new"]


def test_the_prefetch_is_the_room_that_acks_give_back(amqp, inbox, stream):
    box = reader(amqp, inbox, stream, prefetch=3, offset="first")
    box.wait(3)
    box.nothing_more()
    assert len(box.got) == 3
    box.channel.basic_ack(2, multiple=True)
    box.wait(5)
    box.nothing_more()
    assert box.bodies() == [b"0", b"1", b"2", b"3", b"4"]
    assert not any(method.redelivered for method, _, _ in box.got)


def test_everybody_reads_everything_and_it_survives_a_restart(amqp, inbox, server, stream):
    for _ in range(2):
        boxes = [reader(amqp, inbox, stream, offset="first") for _ in range(2)]
        assert [box.wait(10) and box.bodies() for box in boxes] == [[b"%d" % n for n in range(10)]] * 2
        if server.name == "rabbitmq":
            pytest.skip("it takes its time until a stream has a leader again")
        amqp.restart()


def test_a_filter_is_applied_by_the_broker(amqp, inbox, server, stream):
    if server.name == "rabbitmq":
        pytest.skip("since RabbitMQ 3.13, and by chunks")
    channel = amqp.channel()
    channel.confirm_delivery()
    for region in ("eu", "us", "eu"):
        channel.basic_publish("", stream, region.encode(), pika.BasicProperties(headers={"x-stream-filter-value": region}))
    box = reader(amqp, inbox, stream, offset="first", filter="eu")
    box.wait(2)
    box.nothing_more()
    assert box.bodies() == [b"eu", b"eu"]
    box = reader(amqp, inbox, stream, offset="first", filter=["us"], match_unfiltered=True)
    box.wait(11)
    box.nothing_more()
    assert len(box.got) == 11


def test_what_is_too_old_or_too_much_may_be_said_in_the_declaration(amqp, fresh, channel_refused):
    name = fresh()
    amqp.channel().queue_declare(name, durable=True, arguments=dict(STREAM, **{
        "x-max-age": "7D", "x-max-length-bytes": 10 ** 9, "x-stream-max-segment-size-bytes": 10 ** 7}))
    amqp.channel().queue_delete(name)
    with channel_refused(406, "PRECONDITION_FAILED - invalid arg 'x-max-age' for queue '%s' in vhost '/': invalid_max_age" % name):
        amqp.channel().queue_declare(name, durable=True, arguments=dict(STREAM, **{"x-max-age": "7 days"}))


def test_a_stream_is_not_a_queue(amqp, stream, connection_refused, channel_refused):
    thing = "queue '%s' in vhost '/'" % stream
    with connection_refused(540, "NOT_IMPLEMENTED - basic.get not supported by stream queues " + thing):
        amqp.channel().basic_get(stream)
    with connection_refused(540, "NOT_IMPLEMENTED - queue.purge not supported by stream queues " + thing):
        amqp.channel().queue_purge(stream)
    with channel_refused(406):          # no prefetch
        amqp.channel().basic_consume(stream, lambda *_: None)
    with connection_refused(540):       # no acks
        channel = amqp.channel()
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(stream, lambda *_: None, auto_ack=True)
