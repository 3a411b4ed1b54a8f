# AMQP through every client library: each scenario is told once, and a driver of each library says it in its own words
# (drivers/README.md).
#
#   HAWSER_TEST_CLIENTS     names of some clients, with spaces between: only those
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import time

import pytest

from broker import ROOT, wait_until
from pipe import Driver, Refused

CHAPTER = "AMQP, every client"
DRIVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers")
BUILT = os.path.join(ROOT, "build", "drivers", "amqp")
CURRENT = os.path.join(ROOT, "build", "venv", "bin", "python")


def python(interpreter, script):
    return [interpreter, "-W", "ignore", os.path.join(DRIVERS, script)]


COMMANDS = {
    "pika-1.2": python("/usr/bin/python3", "pika_.py"),
    "pika": python(CURRENT, "pika_.py"),
    "aio-pika": python(CURRENT, "aio.py"),
    "kombu": python(CURRENT, "kombu_.py"),
    "amqp091-go": [os.path.join(BUILT, "go")],
    "amqplib": ["env", "NODE_PATH=" + os.path.join(BUILT, "node", "node_modules"), "node",
                os.path.join(DRIVERS, "node", "driver.js")],
    "Java": ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "@" + os.path.join(BUILT, "java", "arguments"),
             "Driver"],
    "amqprs": [os.path.join(BUILT, "rust", "debug", "amqp-driver")],
}


class Library(Driver):
    def __getattr__(self, command):
        return lambda **arguments: self.do(command, **arguments)


CLIENTS = [name for name in COMMANDS if name in os.environ.get("HAWSER_TEST_CLIENTS", " ".join(COMMANDS)).split()]


@pytest.fixture(scope="session")
def drivers():
    started = {}
    yield started
    for driver in started.values():
        driver.close()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in CLIENTS])
def client(request, server, drivers):
    """The driver of a library, connected."""
    name = request.param
    if name not in drivers or not drivers[name].alive():
        drivers[name] = Library(COMMANDS[name], server.amqp)
    request.node.client = drivers[name].name
    return drivers[name]


def bodies(messages):
    return [m["body"] for m in messages]


def take(client, tag, count):
    taken = client.take(tag=tag, count=count, wait_ms=10000)
    assert len(taken) == count
    return taken


def test_what_is_confirmed_is_consumed_in_order(client, fresh):
    queue = fresh()
    assert client.declare(queue=queue, durable=True) == {"queue": queue, "messages": 0, "consumers": 0}
    for n in range(5):
        assert client.publish(exchange="", key=queue, body=str(n), headers={"n": n, "s": "x"}) == "ack"
    tag = client.consume(queue=queue, prefetch=10)
    taken = take(client, tag, 5)
    assert bodies(taken) == list("01234") and taken[3]["headers"] == {"n": 3, "s": "x"}
    assert not any(m["redelivered"] for m in taken) and taken[0]["key"] == queue
    client.settle(id=taken[-1]["id"], how="ack", multiple=True)
    assert client.declare(queue=queue, passive=True)["messages"] == 0
    client.delete(queue=queue)


def test_the_prefetch_is_a_limit(client, fresh):
    queue = fresh()
    client.declare(queue=queue)
    for n in range(4):
        client.publish(exchange="", key=queue, body=str(n))
    tag = client.consume(queue=queue, prefetch=2)
    taken = take(client, tag, 2)
    assert client.take(tag=tag, count=1, wait_ms=200) == []
    client.settle(id=taken[0]["id"], how="ack")
    assert bodies(take(client, tag, 1)) == ["2"]
    client.delete(queue=queue)


def test_what_is_given_back_comes_again(client, fresh):
    queue = fresh()
    client.declare(queue=queue)
    client.publish(exchange="", key=queue, body="x")
    first = client.get(queue=queue)
    assert first["body"] == "x" and not first["redelivered"]
    client.settle(id=first["id"], how="nack", requeue=True)
    again = client.get(queue=queue)
    assert again["body"] == "x" and again["redelivered"]
    client.settle(id=again["id"], how="ack")
    assert client.get(queue=queue) is None
    client.delete(queue=queue)


def test_what_nobody_wants_is_returned_and_what_is_full_refuses(client, fresh):
    queue = fresh()
    assert client.publish(exchange="", key=fresh("nowhere"), body="x", mandatory=True) == "returned"
    assert client.publish(exchange="", key=fresh("nowhere"), body="x") == "ack"
    client.declare(queue=queue, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    assert client.publish(exchange="", key=queue, body="1") == "ack"
    assert client.publish(exchange="", key=queue, body="2") == "nack"
    client.delete(queue=queue)


def test_errors_close_the_channel_with_their_codes_and_another_one_works(client, fresh):
    queue = fresh()
    for wrong, code in [({"queue": fresh("missing"), "passive": True}, 404), ({"queue": queue, "durable": True}, 406)]:
        client.declare(queue=queue)
        with pytest.raises(Refused) as refused:
            client.declare(**wrong)
        assert refused.value.code == code, str(refused.value)
    client.delete(queue=queue)


def test_a_topic_exchange_routes_and_dead_letters_arrive(client, fresh):
    queue, grave, exchange = fresh("q"), fresh("grave"), fresh("x")
    client.exchange(name=exchange, type="topic")
    client.declare(queue=grave)
    client.declare(queue=queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave})
    client.bind(queue=queue, exchange=exchange, key="orders.#")
    client.publish(exchange=exchange, key="orders.eu.new", body="yes")
    client.publish(exchange=exchange, key="other", body="no")
    got = client.get(queue=queue)
    assert (got["body"], got["exchange"], got["key"]) == ("yes", exchange, "orders.eu.new")
    client.settle(id=got["id"], how="nack", requeue=False)
    dead = wait_until(lambda: client.get(queue=grave), "the dead letter")
    assert dead["headers"]["x-first-death-queue"] == queue and dead["headers"]["x-first-death-reason"] == "rejected"
    client.settle(id=dead["id"], how="ack")
    for name in (queue, grave):
        client.delete(queue=name)


def test_a_stream_is_read_again_and_again(client, fresh):
    stream = fresh()
    client.declare(queue=stream, durable=True, arguments={"x-queue-type": "stream"})
    for n in range(3):
        client.publish(exchange="", key=stream, body=str(n))
    for start, expected in (("first", "012"), (1, "12")):
        tag = client.consume(queue=stream, prefetch=10, arguments={"x-stream-offset": start})
        taken = take(client, tag, len(expected))
        assert bodies(taken) == list(expected)
        assert [m["headers"]["x-stream-offset"] for m in taken] == [int(c) for c in expected]
        client.settle(id=taken[-1]["id"], how="ack", multiple=True)
    client.delete(queue=stream)


def test_a_delayed_message_comes_later(client, fresh):
    exchange, queue = fresh("x"), fresh("q")
    client.exchange(name=exchange, type="x-delayed-message", arguments={"x-delayed-type": "direct"})
    client.declare(queue=queue)
    client.bind(queue=queue, exchange=exchange, key="k")
    started = time.time()
    client.publish(exchange=exchange, key="k", body="late", headers={"x-delay": 300})
    tag = client.consume(queue=queue, prefetch=1)
    assert bodies(take(client, tag, 1)) == ["late"] and time.time() - started >= 0.3
    client.delete(queue=queue)


def test_who_consumes_from_a_queue_that_is_deleted_is_told(client, fresh, channel):
    queue = fresh()
    client.declare(queue=queue)
    client.consume(queue=queue, prefetch=1)
    channel.queue_delete(queue)
    assert client.cancelled(wait_ms=10000)
