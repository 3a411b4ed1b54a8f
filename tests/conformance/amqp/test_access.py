# Users, virtual hosts, permissions, limits and policies: set over RabbitMQ's HTTP paths, met over AMQP.
#
# The texts are RabbitMQ's (3.10 leaves out which access it is: "access to queue" for "configure access to queue").  With
# HAWSER_TEST_API=http://127.0.0.1:15672 and HAWSER_TEST_AMQP they are asked of another broker that has guest.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import base64
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request

import pika
import pika.exceptions
import pytest

from broker import Broker

CLIENT = "pika " + pika.__version__
CHAPTER = "Users and permissions"


class Api:
    def __init__(self, url):
        self.url = url + "/api/"

    def ask(self, method, path, body=None, user="guest:guest"):
        """(status, body) of a request."""
        request = urllib.request.Request(self.url + path, method=method,
                                         data=None if body is None else json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return status, json.loads(text) if text else None

    def put(self, path, **body):
        status, answer = self.ask("PUT", path, {name.replace("_", "-"): value for name, value in body.items()})
        assert status in (201, 204), answer

    def delete(self, path):
        status, answer = self.ask("DELETE", path)
        assert status == 204, answer

    def get(self, path):
        status, answer = self.ask("GET", path)
        assert status == 200, answer
        return answer


class World:
    """A broker with an administrator (guest) and a user eve, who may configure ^c, write ^w and read ^r in "/"."""

    def __init__(self, amqp, api):
        self.amqp = amqp
        self.api = Api(api)
        self.connections = []

    def connect(self, user="eve", password="pw", vhost="/"):
        host, port = self.amqp.rsplit(":", 1)
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            host, int(port), vhost, pika.PlainCredentials(user, password), blocked_connection_timeout=20))
        self.connections.append(connection)
        return connection

    def channel(self, *args, **more):
        return self.connect(*args, **more).channel()

    def close(self):
        for connection in self.connections:
            if connection.is_open:
                connection.close()
        self.connections = []


@pytest.fixture(scope="module")
def broker():
    if "HAWSER_TEST_API" in os.environ:
        yield os.environ["HAWSER_TEST_AMQP"], os.environ["HAWSER_TEST_API"], None
        return
    broker = Broker().start()
    yield broker.amqp, "http://" + broker.address("admin"), broker
    broker.close()


@pytest.fixture
def world(broker):
    it = World(*broker[:2])
    it.api.put("users/eve", password="pw", tags="")
    it.api.put("permissions/%2F/eve", configure="^c", write="^w", read="^r")
    guest = it.channel("guest", "guest")
    for queue in ("wq", "rq", "cq"):
        guest.queue_declare(queue)
    for exchange, kind in (("rx", "topic"), ("wx", "topic"), ("fx", "fanout")):
        guest.exchange_declare(exchange, kind)
    yield it
    it.close()
    it.api.ask("DELETE", "users/eve")
    it.api.ask("DELETE", "vhosts/apart")


def refusal(action):
    """(code, text) of the channel or connection that ended, without which access it was."""
    with pytest.raises((pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker,
                        pika.exceptions.AMQPConnectionError)) as caught:
        action()
    error = caught.value
    if not isinstance(error, (pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)):
        found = re.search(r"\((\d+)\) ['\"](.*)['\"]$", str(error))
        return int(found[1]), found[2]
    return error.reply_code, re.sub(r"(configure|write|read) access to", "access to", error.reply_text)


def publish(channel, exchange, key):
    channel.confirm_delivery()
    channel.basic_publish(exchange, key, b"")


ACTIONS = {
    "declare": (lambda ch: ch.queue_declare("zq"), "queue 'zq'"),
    "declare an exchange": (lambda ch: ch.exchange_declare("zx", "direct"), "exchange 'zx'"),
    "delete": (lambda ch: ch.queue_delete("wq"), "queue 'wq'"),
    "delete an exchange": (lambda ch: ch.exchange_delete("wx"), "exchange 'wx'"),
    "purge": (lambda ch: ch.queue_purge("wq"), "queue 'wq'"),
    "bind a queue that may not be written": (lambda ch: ch.queue_bind("rq", "rx", "k"), "queue 'rq'"),
    "bind to an exchange that may not be read": (lambda ch: ch.queue_bind("wq", "wx", "k"), "exchange 'wx'"),
    "unbind": (lambda ch: ch.queue_unbind("rq", "rx", "k"), "queue 'rq'"),
    "bind exchanges": (lambda ch: ch.exchange_bind("wx", "fx", "k"), "exchange 'fx'"),
    "get": (lambda ch: ch.basic_get("wq"), "queue 'wq'"),
    "consume": (lambda ch: ch.basic_consume("wq", lambda *_: None), "queue 'wq'"),
    "publish": (lambda ch: publish(ch, "fx", "k"), "exchange 'fx'"),
    "publish to the default exchange": (lambda ch: publish(ch, "", "wq"), "exchange 'amq.default'"),
    "dead-letter from a queue that may not be read": (
        lambda ch: ch.queue_declare("cd", arguments={"x-dead-letter-exchange": "wx"}), "queue 'cd'"),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_without_permission_it_is_refused_with_RabbitMQs_text(world, action):
    do, what = ACTIONS[action]
    assert refusal(lambda: do(world.channel())) == (
        403, "ACCESS_REFUSED - access to %s in vhost '/' refused for user 'eve'" % what)


def test_with_permission_it_is_done(world):
    channel = world.channel()
    channel.queue_declare("c-mine", auto_delete=True)
    channel.queue_bind("wq", "rx", "k")
    publish(channel, "wx", "k")
    assert channel.basic_get("rq", auto_ack=True)[0] is None
    channel.queue_delete("c-mine")


def test_a_permission_counts_from_the_moment_it_is_set(world):
    channel = world.channel()
    publish(channel, "wx", "k")
    world.api.put("permissions/%2F/eve", configure="", write="^none$", read="")
    assert refusal(lambda: publish(channel, "wx", "k"))[0] == 403
    world.api.put("permissions/%2F/eve", configure="", write="", read="^r")
    assert refusal(lambda: publish(world.channel(), "wx", "k"))[0] == 403


def test_topic_permissions_restrict_routing_keys(world):
    world.api.put("topic-permissions/%2F/eve", exchange="wx", write="^{username}\\.", read="")
    publish(world.channel(), "wx", "eve.1")
    assert refusal(lambda: publish(world.channel(), "wx", "bob.1")) == (
        403, "ACCESS_REFUSED - access to topic 'bob.1' in exchange 'wx' in vhost '/' refused for user 'eve'")
    world.api.put("topic-permissions/%2F/eve", exchange="rx", write="", read="^a")
    world.channel().queue_bind("wq", "rx", "a.1")
    assert refusal(lambda: world.channel().queue_bind("wq", "rx", "b.1")) == (
        403, "ACCESS_REFUSED - access to topic 'b.1' in exchange 'rx' in vhost '/' refused for user 'eve'")


def test_a_virtual_host_is_entered_with_a_permission_only(world):
    assert refusal(lambda: world.connect(vhost="nosuch")) == (530, "NOT_ALLOWED - vhost nosuch not found")
    world.api.put("vhosts/apart")
    assert refusal(lambda: world.connect(vhost="apart")) == (
        530, "NOT_ALLOWED - access to vhost 'apart' refused for user 'eve'")
    world.api.put("permissions/apart/eve", configure=".*", write=".*", read=".*")
    channel = world.channel(vhost="apart")
    channel.queue_declare("wq")
    publish(channel, "", "wq")
    assert world.channel("guest", "guest").queue_declare("wq", passive=True).method.message_count == 0
    assert channel.queue_declare("wq", passive=True).method.message_count == 1


def test_a_wrong_password_is_refused(world):
    assert refusal(lambda: world.connect(password="wrong")) == (
        403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.")


def test_connections_and_channels_of_a_user_are_limited(world):
    world.api.put("user-limits/eve/max-connections", value=1)
    first = world.connect()
    assert refusal(world.connect) == (
        530, "NOT_ALLOWED - connection refused for user 'eve': user connection limit (1) is reached")
    first.close()
    world.api.put("user-limits/eve/max-connections", value=-1)
    world.api.put("user-limits/eve/max-channels", value=1)
    second = world.connect()
    second.channel()
    assert refusal(second.channel) == (530, "NOT_ALLOWED - number of channels opened for user 'eve' has reached the "
                                            "maximum allowed user limit of (1)")


def test_connections_and_queues_of_a_virtual_host_are_limited(world):
    world.api.put("vhosts/apart")
    world.api.put("permissions/apart/eve", configure=".*", write=".*", read=".*")
    world.api.put("vhost-limits/apart/max-connections", value=1)
    world.api.put("vhost-limits/apart/max-queues", value=1)
    channel = world.channel(vhost="apart")
    assert refusal(lambda: world.connect(vhost="apart")) == (
        530, "NOT_ALLOWED - access to vhost 'apart' refused for user 'eve': connection limit (1) is reached")
    channel.queue_declare("one")
    assert refusal(lambda: channel.queue_declare("two")) == (
        406, "PRECONDITION_FAILED - cannot declare queue 'two': queue limit in vhost 'apart' (1) is reached")


def until_closed(connection):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection.process_data_events(0.1)


def test_who_is_deleted_is_disconnected(world):
    world.api.put("vhosts/apart")
    world.api.put("permissions/apart/eve", configure=".*", write=".*", read=".*")
    apart, here = world.connect(vhost="apart"), world.connect()
    world.api.delete("vhosts/apart")
    assert refusal(lambda: until_closed(apart)) == (320, "CONNECTION_FORCED - vhost 'apart' is deleted")
    world.api.delete("users/eve")
    assert refusal(lambda: until_closed(here)) == (320, "CONNECTION_FORCED - user 'eve' is deleted")
    assert refusal(world.connect)[0] == 403


def test_a_connection_is_listed_and_can_be_closed(world):
    connection = world.connect()
    connection.channel()
    end = time.monotonic() + 20                 # RabbitMQ's statistics come late
    while True:
        mine = [c for c in world.api.get("connections") if c.get("user") == "eve" and c.get("channels") == 1]
        if mine or time.monotonic() > end:
            break
        time.sleep(0.1)
    assert mine[0]["vhost"] == "/" and mine[0]["protocol"] == "AMQP 0-9-1"
    path = "connections/" + urllib.parse.quote(mine[0]["name"])
    world.api.put("users/mary", password="pw", tags="management")
    world.api.put("permissions/%2f/mary", configure="", write="", read="")
    assert world.api.ask("DELETE", path, user="mary:pw")[0] >= 400               # it is not hers
    connection.channel()
    world.api.delete(path)
    assert refusal(lambda: until_closed(connection)) == (320, "CONNECTION_FORCED - Closed via management plugin")


def test_a_policy_holds_for_queues_that_are_there_and_the_least_number_counts(world):
    channel = world.channel("guest", "guest")
    channel.confirm_delivery()
    channel.queue_declare("pol-1", arguments={"x-max-length": 5})
    channel.queue_declare("pol-2")
    for queue in ("pol-1", "pol-2"):
        for i in range(8):
            channel.basic_publish("", queue, b"%d" % i)
    world.api.put("policies/%2F/limit", pattern="^pol", definition={"max-length": 6}, priority=1, apply_to="queues")
    world.api.put("operator-policies/%2F/limit", pattern="2$", definition={"max-length": 2}, apply_to="queues")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        counts = [channel.queue_declare(q, passive=True).method.message_count for q in ("pol-1", "pol-2")]
        if counts == [5, 2]:
            break
        time.sleep(0.05)
    assert counts == [5, 2]
    assert channel.basic_get("pol-2", auto_ack=True)[2] == b"6"
    queues = {q["name"]: q for q in world.api.get("queues/%2F")}
    assert queues["pol-2"]["policy"] == "limit" and queues["pol-2"]["operator_policy"] == "limit"
    world.api.delete("policies/%2F/limit")
    world.api.delete("operator-policies/%2F/limit")
    for i in range(8):
        channel.basic_publish("", "pol-2", b"")
    assert channel.queue_declare("pol-2", passive=True).method.message_count == 9
    for queue in ("pol-1", "pol-2"):
        channel.queue_delete(queue)


def test_a_policy_gives_an_alternate_exchange_and_dead_letters(world):
    channel = world.channel("guest", "guest")
    channel.confirm_delivery()
    channel.exchange_declare("alt-in", "direct")
    channel.exchange_declare("alt-out", "fanout")
    channel.queue_declare("alt-q")
    channel.queue_bind("alt-q", "alt-out")
    world.api.put("policies/%2F/alt", pattern="^alt-in$", definition={"alternate-exchange": "alt-out"}, apply_to="exchanges")
    world.api.put("policies/%2F/dead", pattern="^dying$", definition={"message-ttl": 0, "dead-letter-exchange": "alt-out"})
    channel.queue_declare("dying")
    channel.basic_publish("alt-in", "nowhere", b"unrouted", mandatory=True)
    channel.basic_publish("", "dying", b"expired")
    got = []
    end = time.monotonic() + 20
    while len(got) < 2 and time.monotonic() < end:
        body = channel.basic_get("alt-q", auto_ack=True)[2]
        got += [body] if body else []
    assert got == [b"unrouted", b"expired"]
    for policy in ("alt", "dead"):
        world.api.delete("policies/%2F/" + policy)
    for exchange in ("alt-in", "alt-out"):
        channel.exchange_delete(exchange)
    for queue in ("alt-q", "dying"):
        channel.queue_delete(queue)


def test_what_was_said_survives_a_kill(world, broker):
    if not broker[2]:
        pytest.skip("not our broker")
    world.api.put("vhosts/apart")
    world.api.put("permissions/apart/eve", configure="^c", write="", read="")
    world.api.put("policies/apart/p", pattern=".", definition={"max-length": 1})
    world.close()
    broker[2].kill9()
    broker[2].start()
    again = World(broker[2].amqp, "http://" + broker[2].address("admin"))
    world.amqp, world.api = again.amqp, again.api
    channel = world.channel(vhost="apart")
    channel.queue_declare("c1")
    assert refusal(lambda: channel.queue_declare("q1"))[0] == 403
    assert [p["name"] for p in again.api.get("policies/apart")] == ["p"]
    assert again.api.get("queues/apart/c1")["policy"] == "p"
