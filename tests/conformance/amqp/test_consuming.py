# Consuming: get, deliver, prefetch, acknowledge, and what comes back.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import pika
import pytest
from pika import spec

from broker import wait_until

CLIENT = "pika " + pika.__version__
CHAPTER = "Consuming and acknowledging"


def filled(channel, count, queue="", **more):
    """A queue with the bodies 0, 1, 2, ..."""
    more = more or dict(exclusive=True)
    queue = channel.queue_declare(queue, **more).method.queue
    for n in range(count):
        channel.basic_publish("", queue, b"%d" % n)
    return queue


def test_get_from_an_empty_queue_says_so(channel):
    queue = filled(channel, 0)
    assert channel.basic_get(queue) == (None, None, None)


def test_get_tells_how_many_are_left(channel):
    queue = filled(channel, 3)
    counts = [channel.basic_get(queue, auto_ack=True)[0].message_count for _ in range(3)]
    assert counts == [2, 1, 0]


def test_delivery_tags_count_from_one_on_each_channel(amqp):
    connection = amqp.connection()
    one, two = connection.channel(), connection.channel()
    queue = filled(one, 4)
    wait_until(lambda: one.queue_declare(queue, passive=True).method.message_count == 4, "all are in the queue")
    assert [one.basic_get(queue)[0].delivery_tag for _ in range(2)] == [1, 2]
    assert [two.basic_get(queue)[0].delivery_tag for _ in range(2)] == [1, 2]


def test_a_first_delivery_is_not_marked_redelivered(channel, inbox):
    queue = filled(channel, 1)
    (method, _, _), = inbox(channel, queue).wait(1)
    assert method.redelivered is False


def test_a_consumer_is_pushed_what_is_there_and_what_comes(channel, inbox):
    queue = filled(channel, 2)
    box = inbox(channel, queue, auto_ack=True)
    box.wait(2)
    channel.basic_publish("", queue, b"2")
    box.wait(3)
    assert box.bodies() == [b"0", b"1", b"2"]
    method = box.got[0][0]
    assert (method.consumer_tag, method.exchange, method.routing_key) == (box.tag, "", queue)


def test_the_consumer_may_be_named_by_the_server(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Queue.Declare(queue="", exclusive=True))
    queue = raw.expect(spec.Queue.DeclareOk).queue
    raw.method(1, spec.Basic.Consume(queue=queue))
    assert raw.expect(spec.Basic.ConsumeOk).consumer_tag.startswith("amq.ctag-")


def test_the_answer_to_consume_comes_before_the_first_delivery(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Queue.Declare(queue="", exclusive=True))
    queue = raw.expect(spec.Queue.DeclareOk).queue
    raw.content(1, spec.Basic.Publish(routing_key=queue), pika.BasicProperties(), b"x")
    raw.method(1, spec.Basic.Consume(queue=queue, consumer_tag="me"))
    assert raw.expect(spec.Basic.ConsumeOk).consumer_tag == "me"
    assert raw.expect(spec.Basic.Deliver).consumer_tag == "me"


def test_a_consumer_tag_used_twice_is_530(amqp, channel, connection_refused):
    queue = filled(channel, 0)
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Queue.Declare(queue="", exclusive=True))
    queue = raw.expect(spec.Queue.DeclareOk).queue
    raw.method(1, spec.Basic.Consume(queue=queue, consumer_tag="twin"))
    raw.expect(spec.Basic.ConsumeOk)
    raw.method(1, spec.Basic.Consume(queue=queue, consumer_tag="twin"))
    close = raw.expect(spec.Connection.Close)
    assert (close.reply_code, close.reply_text) == (530, "NOT_ALLOWED - attempt to reuse consumer tag 'twin'")


def test_an_exclusive_consumer_keeps_others_out(amqp, channel, inbox, channel_refused):
    queue = filled(channel, 0)
    inbox(channel, queue, exclusive=True)
    other = channel.connection.channel()
    with channel_refused(403, "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use" % queue):
        inbox(other, queue)


def test_an_exclusive_consumer_is_refused_where_others_are(channel, inbox, channel_refused):
    queue = filled(channel, 0)
    inbox(channel, queue)
    other = channel.connection.channel()
    with channel_refused(403, "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use" % queue):
        inbox(other, queue, exclusive=True)


def test_prefetch_limits_what_is_in_flight(channel, inbox):
    queue = filled(channel, 10)
    channel.basic_qos(prefetch_count=3)
    box = inbox(channel, queue)
    box.wait(3)
    box.nothing_more()
    assert box.bodies() == [b"0", b"1", b"2"]
    channel.basic_ack(box.got[0][0].delivery_tag)
    box.wait(4)
    channel.basic_ack(box.got[3][0].delivery_tag, multiple=True)
    box.wait(7)
    box.nothing_more()
    assert box.bodies() == [b"%d" % n for n in range(7)]


def test_prefetch_counts_for_each_consumer_by_itself(channel, inbox):
    queue, other = filled(channel, 5), filled(channel, 5)
    channel.basic_qos(prefetch_count=2)
    boxes = [inbox(channel, queue), inbox(channel, other)]
    for box in boxes:
        box.wait(2)
    boxes[0].nothing_more()
    assert [len(box.got) for box in boxes] == [2, 2]


def test_prefetch_holds_for_consumers_that_come_later(channel, inbox):
    queue, other = filled(channel, 5), filled(channel, 5)
    channel.basic_qos(prefetch_count=1)
    one = inbox(channel, queue)
    channel.basic_qos(prefetch_count=3)
    two = inbox(channel, other)
    two.wait(3)
    one.nothing_more()
    assert [len(one.got), len(two.got)] == [1, 3]


def test_global_prefetch_is_shared_by_the_channel(channel, inbox):
    queue, other = filled(channel, 5), filled(channel, 5)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    boxes = [inbox(channel, queue), inbox(channel, other)]
    wait_until(lambda: channel.connection.process_data_events(time_limit=0.05) or sum(len(b.got) for b in boxes) >= 3,
               "three deliveries")
    boxes[0].nothing_more()
    assert sum(len(box.got) for box in boxes) == 3


def test_prefetch_does_not_hold_back_get_nor_a_consumer_without_acks(channel, inbox):
    queue = filled(channel, 10)
    channel.basic_qos(prefetch_count=1)
    for n in range(3):
        assert channel.basic_get(queue)[2] == b"%d" % n
    box = inbox(channel, queue, auto_ack=True)
    box.wait(7)


def test_a_prefetch_size_is_not_implemented(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Basic.Qos(prefetch_size=10))
    close = raw.expect(spec.Connection.Close)
    assert (close.reply_code, close.reply_text) == (540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)")


def test_consumers_of_a_queue_take_turns(channel, inbox):
    queue = filled(channel, 0)
    boxes = [inbox(channel, queue, auto_ack=True) for _ in range(3)]
    for n in range(30):
        channel.basic_publish("", queue, b"%d" % n)
    wait_until(lambda: channel.connection.process_data_events(time_limit=0.05) or sum(len(b.got) for b in boxes) >= 30,
               "all deliveries")
    assert [len(box.got) for box in boxes] == [10, 10, 10]


def test_a_busy_consumer_leaves_work_to_a_free_one(amqp, inbox):
    connection = amqp.connection()
    slow, quick = connection.channel(), connection.channel()
    slow.basic_qos(prefetch_count=1)
    queue = filled(slow, 0)
    busy, free = inbox(slow, queue), inbox(quick, queue, auto_ack=True)
    for n in range(10):
        slow.basic_publish("", queue, b"%d" % n)
    free.wait(9)
    assert len(busy.got) == 1


def test_several_messages_are_acknowledged_at_once(channel):
    queue = filled(channel, 5)
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(5)]
    channel.basic_ack(tags[2], multiple=True)
    channel.basic_nack(tags[4], multiple=True, requeue=True)
    wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 2, "two are back")
    assert channel.basic_get(queue, auto_ack=True)[2] == b"3"


def test_tag_zero_acknowledges_all(channel):
    queue = filled(channel, 3)
    for _ in range(3):
        channel.basic_get(queue)
    channel.basic_ack(0, multiple=True)
    channel.close()
    # nothing was outstanding, so nothing came back


def test_tag_zero_acknowledges_nothing_where_nothing_is_outstanding(channel):
    filled(channel, 0)
    channel.basic_ack(0, multiple=True)
    channel.queue_declare("", exclusive=True)


@pytest.mark.parametrize("settle", ["ack", "nack", "reject"])
def test_an_unknown_delivery_tag_is_406(channel, channel_refused, settle):
    with channel_refused(406, "PRECONDITION_FAILED - unknown delivery tag 77"):
        getattr(channel, "basic_" + settle)(77)
        channel.queue_declare("", exclusive=True)


def test_acknowledging_twice_is_406(channel, channel_refused):
    queue = filled(channel, 1)
    tag = channel.basic_get(queue)[0].delivery_tag
    channel.basic_ack(tag)
    with channel_refused(406, "PRECONDITION_FAILED - unknown delivery tag 1"):
        channel.basic_ack(tag)
        channel.queue_declare("", exclusive=True)


def test_a_tag_belongs_to_its_channel(amqp, channel_refused):
    connection = amqp.connection()
    one, two = connection.channel(), connection.channel()
    queue = filled(one, 1)
    tag = one.basic_get(queue)[0].delivery_tag
    with channel_refused(406):
        two.basic_ack(tag)
        two.queue_declare("", exclusive=True)


@pytest.mark.parametrize("how", ["nack", "reject"])
def test_a_message_sent_back_is_first_again_and_marked_redelivered(channel, how):
    queue = filled(channel, 3)
    tag = channel.basic_get(queue)[0].delivery_tag
    getattr(channel, "basic_" + how)(tag, requeue=True)
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    assert [body for _, _, body in got] == [b"0", b"1", b"2"]
    assert [method.redelivered for method, _, _ in got] == [True, False, False]


def test_messages_sent_back_in_any_order_are_in_their_old_places(channel):
    queue = filled(channel, 5)
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(4)]
    channel.basic_ack(tags[1])
    for n in (2, 0, 3):
        channel.basic_nack(tags[n], requeue=True)
    got = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(4)]
    assert got == [b"0", b"2", b"3", b"4"]


@pytest.mark.parametrize("how", ["nack", "reject"])
def test_a_message_rejected_for_good_is_gone(channel, how):
    queue = filled(channel, 2)
    tag = channel.basic_get(queue)[0].delivery_tag
    getattr(channel, "basic_" + how)(tag, requeue=False)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"1"
    assert channel.basic_get(queue, auto_ack=True)[2] is None


def test_nack_zero_sends_back_all(channel):
    queue = filled(channel, 3)
    for _ in range(3):
        channel.basic_get(queue)
    channel.basic_nack(0, multiple=True, requeue=True)
    assert [channel.basic_get(queue, auto_ack=True)[2] for _ in range(3)] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("how", ["the channel closes", "the connection closes", "the client dies"])
def test_what_was_not_acknowledged_comes_back_when(amqp, fresh, how):
    queue = fresh()
    keeper = amqp.channel()
    filled(keeper, 3, queue, durable=True)
    keeper.queue_declare(queue, passive=True)           # they are there before another channel looks
    connection = amqp.connection()
    channel = connection.channel()
    got = [channel.basic_get(queue) for _ in range(2)]
    channel.basic_ack(got[0][0].delivery_tag)
    channel.queue_declare(queue, passive=True)          # the ack has arrived
    {
        "the channel closes": channel.close,
        "the connection closes": connection.close,
        "the client dies": lambda: amqp.die(connection),
    }[how]()
    wait_until(lambda: keeper.queue_declare(queue, passive=True).method.message_count == 2, "the message is back")
    got = [keeper.basic_get(queue, auto_ack=True) for _ in range(2)]
    assert [body for _, _, body in got] == [b"1", b"2"]
    assert [method.redelivered for method, _, _ in got] == [True, False]
    keeper.queue_delete(queue)


def test_a_consumer_cancelled_gets_nothing_more_and_keeps_what_it_has(channel, inbox):
    queue = filled(channel, 2)
    channel.basic_qos(prefetch_count=1)
    box = inbox(channel, queue)
    box.wait(1)
    channel.basic_cancel(box.tag)
    assert len(box.got) == 1
    channel.basic_ack(box.got[0][0].delivery_tag)       # still ours
    wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 1, "one is left")


def test_cancelling_an_unknown_consumer_is_answered(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Basic.Cancel(consumer_tag="nobody"))
    assert raw.expect(spec.Basic.CancelOk).consumer_tag == "nobody"


def test_a_consumer_is_told_when_its_queue_is_deleted(amqp, fresh):
    queue = fresh()
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Queue.Declare(queue=queue))
    raw.expect(spec.Queue.DeclareOk)
    raw.method(1, spec.Basic.Consume(queue=queue, consumer_tag="me"))
    raw.expect(spec.Basic.ConsumeOk)
    amqp.channel().queue_delete(queue)
    assert raw.expect(spec.Basic.Cancel).consumer_tag == "me"


def test_recover_gives_back_everything_in_flight(channel):
    queue = filled(channel, 3)
    for _ in range(3):
        channel.basic_get(queue)
    channel.basic_recover(requeue=True)
    got = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    assert [body for _, _, body in got] == [b"0", b"1", b"2"]
    assert all(method.redelivered for method, _, _ in got)


def test_recover_to_the_same_consumer_is_not_implemented(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel()
    raw.method(1, spec.Basic.Recover(requeue=False))
    close = raw.expect(spec.Connection.Close)
    assert close.reply_code == 540


def test_an_unacknowledged_message_comes_back_redelivered_after_a_restart(amqp, fresh):
    queue = fresh()
    channel = amqp.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)
    channel.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2))
    channel.basic_get(queue)

    amqp.restart()

    channel = amqp.channel()
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"x" and method.redelivered
    channel.queue_delete(queue)


def test_a_queue_of_many_messages_is_drained_in_order(channel, inbox, fresh):
    queue = filled(channel, 20000)
    channel.basic_qos(prefetch_count=200)
    box = inbox(channel, queue)
    done = 0
    while done < 20000:
        box.wait(min(done + 1, 20000))
        channel.basic_ack(box.got[-1][0].delivery_tag, multiple=True)
        done = len(box.got)
    assert box.bodies() == [b"%d" % n for n in range(20000)]
