# Exchange types that are plugins of RabbitMQ's.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

import pika
import pytest

from broker import wait_until

CLIENT = "pika " + pika.__version__
CHAPTER = "Exchange types"


@pytest.fixture
def declare(amqp, fresh, server):
    """declare(type, arguments, durable) -> its name"""
    made = []

    def exchange(kind, arguments=None, durable=True):
        if server.name == "rabbitmq" and kind in ("x-delayed-message", "x-message-deduplication", "x-local-random"):
            pytest.skip("a plugin that Debian does not have")
        made.append(fresh("x%d" % len(made)))
        amqp.channel().exchange_declare(made[-1], kind, durable=durable, arguments=arguments)
        return made[-1]
    yield exchange
    for name in made:
        amqp.channel().exchange_delete(name)


@pytest.fixture
def bound(amqp, fresh):
    """bound(exchange, key) -> a new queue's name"""
    made = []

    def queue(exchange, key=""):
        made.append(fresh("q%d" % len(made)))
        channel = amqp.channel()
        channel.queue_declare(made[-1], durable=True)
        channel.queue_bind(made[-1], exchange, key)
        return made[-1]
    yield queue
    for name in made:
        amqp.channel().queue_delete(name)


def publish(amqp, exchange, bodies, key="k", **headers):
    channel = amqp.channel()
    channel.confirm_delivery()
    for body in bodies:
        channel.basic_publish(exchange, key, body, pika.BasicProperties(
            delivery_mode=2, headers={name.replace("_", "-"): value for name, value in headers.items()}))


def drain(amqp, queue):
    channel = amqp.channel()
    return [body for _, _, body in iter(lambda: channel.basic_get(queue, auto_ack=True), (None, None, None))]


def count(amqp, queue):
    return amqp.channel().queue_declare(queue, passive=True).method.message_count


# -- x-delayed-message ------------------------------------------------------

def test_a_delayed_message_comes_when_its_time_has_come(amqp, declare, bound):
    later = declare("x-delayed-message", {"x-delayed-type": "direct"})
    queue, other = bound(later, "k"), bound(later, "other")
    started = time.time()
    publish(amqp, later, [b"late"], x_delay=3000)
    publish(amqp, later, [b"soon"], x_delay=500)
    publish(amqp, later, [b"now"])
    got = []
    wait_until(lambda: got.extend(drain(amqp, queue)) or len(got) == 3, "all three", 20)
    assert set(got) == {b"now", b"soon", b"late"} and got[-1] == b"late" and time.time() - started >= 3
    assert count(amqp, other) == 0


def test_a_delayed_message_tells_that_its_delay_is_over(amqp, declare, bound):
    later = declare("x-delayed-message", {"x-delayed-type": "topic"})
    queue = bound(later, "#")
    publish(amqp, later, [b"x"], key="a.b", x_delay=100)
    wait_until(lambda: count(amqp, queue) == 1, "the message")
    method, properties, _ = amqp.channel().basic_get(queue)
    assert properties.headers["x-delay"] == -100
    assert (method.exchange, method.routing_key, method.redelivered) == (later, "a.b", False)


def test_delayed_messages_survive_a_kill(amqp, declare, bound):
    later = declare("x-delayed-message", {"x-delayed-type": "fanout"})
    queue = bound(later)
    publish(amqp, later, [b"%d" % n for n in range(20)], x_delay=2000)
    amqp.restart(kill=True)
    wait_until(lambda: count(amqp, queue) == 20, "all of them", 20)
    assert sorted(drain(amqp, queue)) == sorted(b"%d" % n for n in range(20))


def test_a_delayed_exchange_says_what_is_wrong_with_its_type(amqp, fresh, server, channel_refused):
    if server.name == "rabbitmq":
        pytest.skip("a plugin that Debian does not have")
    with channel_refused(406, "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type"):
        amqp.channel().exchange_declare(fresh(), "x-delayed-message")


# -- one of the bindings ----------------------------------------------------

@pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash", "x-random", "x-local-random"])
def test_each_message_goes_to_one_queue_and_all_queues_have_some(amqp, declare, bound, kind):
    exchange = declare(kind)
    queues = [bound(exchange, "1") for _ in range(3)]
    channel = amqp.channel()
    channel.confirm_delivery()
    for n in range(150):
        channel.basic_publish(exchange, "key%d" % n, b"x")
    counts = [count(amqp, queue) for queue in queues]
    assert sum(counts) == 150 and min(counts) > 5


def test_what_is_equal_goes_to_the_same_queue(amqp, declare, bound):
    exchange = declare("x-consistent-hash", {"hash-header": "customer"})
    queues = [bound(exchange, "1") for _ in range(3)]
    for n in range(10):
        publish(amqp, exchange, [b"%d" % n], key=str(n), customer="c1")
    assert sorted(count(amqp, queue) for queue in queues) == [0, 0, 10]


def test_a_binding_of_a_consistent_hash_has_a_weight(amqp, declare, fresh, channel_refused):
    exchange, queue = declare("x-consistent-hash"), fresh("q")
    amqp.channel().queue_declare(queue)
    with channel_refused(406):
        amqp.channel().queue_bind(queue, exchange, "heavy")
    with channel_refused(406):
        amqp.channel().queue_bind(queue, exchange, "0")


# -- x-recent-history, x-message-deduplication -------------------------------

def test_a_queue_that_is_bound_later_is_given_the_last_messages(amqp, declare, bound):
    exchange = declare("x-recent-history", {"x-recent-history-length": 3})
    first = bound(exchange)
    publish(amqp, exchange, [b"1", b"2", b"3", b"4"])
    publish(amqp, exchange, [b"secret"], x_recent_history_no_store=True)
    wait_until(lambda: count(amqp, first) == 5, "five messages")
    second = bound(exchange)
    wait_until(lambda: count(amqp, second) == 3, "the last three")
    assert drain(amqp, second) == [b"2", b"3", b"4"]


def test_an_exchange_lets_a_value_through_once_also_over_a_restart(amqp, declare, bound):
    exchange = declare("x-message-deduplication", {"x-cache-size": 100})
    queue = bound(exchange)
    publish(amqp, exchange, [b"first", b"again"], x_deduplication_header="order-1")
    publish(amqp, exchange, [b"other"], x_deduplication_header="order-2")
    amqp.restart()
    publish(amqp, exchange, [b"too late"], x_deduplication_header="order-1")
    publish(amqp, exchange, [b"free", b"free"])
    wait_until(lambda: count(amqp, queue) == 4, "four messages")
    assert sorted(drain(amqp, queue)) == [b"first", b"free", b"free", b"other"]
