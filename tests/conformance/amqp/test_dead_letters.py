# Dead letters beyond the common: what a full queue refuses, and what must arrive.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import pika
import pytest

from broker import wait_until

CLIENT = "pika " + pika.__version__
CHAPTER = "Dead letters"


@pytest.fixture
def confirming(amqp):
    channel = amqp.channel()
    channel.confirm_delivery()
    return channel


def count(amqp, queue):
    return amqp.channel().queue_declare(queue, passive=True).method.message_count


def test_what_a_full_queue_refuses_may_be_dead_lettered(amqp, confirming, fresh):
    full, grave = fresh("full"), fresh("grave")
    confirming.queue_declare(grave)
    confirming.queue_declare(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish-dlx",
                                              "x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave})
    confirming.basic_publish("", full, b"kept")
    with pytest.raises(pika.exceptions.NackError):
        confirming.basic_publish("", full, b"refused")
    wait_until(lambda: count(amqp, grave) == 1, "the dead letter")
    _, properties, body = confirming.basic_get(grave, auto_ack=True)
    death = properties.headers["x-death"][0]
    assert (body, death["reason"], death["queue"], death["count"]) == (b"refused", "maxlen", full, 1)
    assert confirming.basic_get(full, auto_ack=True)[2] == b"kept"
    for queue in (full, grave):
        confirming.queue_delete(queue)


def test_at_least_once_a_dead_letter_waits_until_somebody_takes_it(amqp, confirming, server, fresh):
    if server.name == "rabbitmq":
        pytest.skip("it tries again after three minutes")
    queue, exchange, grave = fresh("q"), fresh("dlx"), fresh("grave")
    confirming.exchange_declare(exchange, "fanout")
    confirming.queue_declare(queue, durable=True, arguments={
        "x-queue-type": "quorum", "x-dead-letter-exchange": exchange, "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish"})
    confirming.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2))
    method = wait_until(lambda: confirming.basic_get(queue)[0], "the message")
    confirming.basic_reject(method.delivery_tag, requeue=False)
    confirming.basic_get(queue)                 # a round trip: it has died, and there is nowhere to go
    confirming.queue_declare(grave, durable=True)
    confirming.queue_bind(grave, exchange)
    wait_until(lambda: count(amqp, grave) == 1, "the dead letter", 20)
    confirming.queue_delete(queue)
    confirming.queue_delete(grave)
    confirming.exchange_delete(exchange)


def returned_until_dropped(amqp, queue, limit):
    channel = amqp.channel()
    for n in range(limit):
        method = wait_until(lambda: channel.basic_get(queue)[0], "delivery %d" % n)
        channel.basic_reject(method.delivery_tag, requeue=True)
    return channel


def test_a_quorum_queue_drops_what_has_come_back_20_times(amqp, confirming, server, fresh):
    if server.name == "rabbitmq":
        pytest.skip("since RabbitMQ 4.0")
    queue = fresh()
    confirming.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    confirming.basic_publish("", queue, b"x")
    channel = returned_until_dropped(amqp, queue, 21)
    wait_until(lambda: count(amqp, queue) == 0 and channel.basic_get(queue)[0] is None, "the end of it")
    confirming.queue_delete(queue)
