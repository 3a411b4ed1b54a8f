# Exchanges and bindings: what is routed where, and what is refused.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import pika
import pytest
from pika import spec

CLIENT = "pika " + pika.__version__
CHAPTER = "Exchanges and bindings"


def queue_bound(channel, exchange, key="", arguments=None):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, key, arguments)
    return queue


def bodies(channel, queue):
    """Take everything that is in the queue now."""
    found = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found.append(body)


@pytest.mark.parametrize("exchange", ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"])
def test_the_predeclared_exchanges_exist(channel, exchange):
    channel.exchange_declare(exchange, passive=True)


def test_the_default_exchange_routes_to_the_queue_of_that_name(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"hello")
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"hello" and method.exchange == "" and method.routing_key == queue


def test_a_direct_exchange_compares_the_whole_key(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    red, blue = queue_bound(channel, exchange, "red"), queue_bound(channel, exchange, "blue")
    for key in ("red", "blue", "red.", "RED", ""):
        channel.basic_publish(exchange, key, key.encode())
    assert (bodies(channel, red), bodies(channel, blue)) == ([b"red"], [b"blue"])


def test_a_fanout_exchange_gives_every_queue_a_copy(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    queues = [queue_bound(channel, exchange, key) for key in ("", "x", "ignored")]
    channel.basic_publish(exchange, "anything", b"for all")
    assert [bodies(channel, q) for q in queues] == [[b"for all"]] * 3


# Every row is one sentence of the topic rules.
TOPICS = [
    ("orders.*",      "orders.eu",          True),
    ("orders.*",      "orders",             False),     # '*' is exactly one word
    ("orders.*",      "orders.eu.late",     False),
    ("orders.*",      "orders.",            True),      # an empty word is a word
    ("orders.#",      "orders",             True),      # '#' may be no words
    ("orders.#",      "orders.eu.late",     True),
    ("#",             "",                   True),
    ("#",             "a.b.c",              True),
    ("#.late",        "late",               True),
    ("#.late",        "orders.eu.late",     True),
    ("#.late",        "orders.late.eu",     False),
    ("*.*",           "a.b",                True),
    ("*.*",           "a",                  False),
    ("*.eu.#",        "orders.eu",          True),
    ("*.eu.#",        "orders.us.eu",       False),
    ("#.eu.#",        "orders.us.eu",       True),
    ("#.*",           "a",                  True),
    ("#.*",           "a.b.c",              True),
    ("orders.eu",     "orders.eu",          True),
    ("orders.eu",     "orders.EU",          False),
    ("",              "",                   True),      # an empty binding key takes only the empty key
    ("",              "a",                  False),
    ("*",             "",                   False),     # the empty key has no words
    ("a..b",          "a..b",               True),
    ("a.*.b",         "a..b",               True),
]


def test_a_topic_exchange_follows_the_rules_of_words(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    wrong = []
    hold = queue_bound(channel, exchange, "keeps the exchange alive")
    for pattern, key, match in TOPICS:
        queue = queue_bound(channel, exchange, pattern)
        channel.basic_publish(exchange, key, b"x")
        if (bodies(channel, queue) == [b"x"]) != match:
            wrong.append((pattern, key, match))
        channel.queue_delete(queue)
    channel.queue_delete(hold)
    assert wrong == []


# x-match, binding arguments, message headers, whether it is routed
HEADERS = [
    ("all",         {"a": "1", "b": 2},        {"a": "1", "b": 2, "c": 3},   True),
    ("all",         {"a": "1", "b": 2},        {"a": "1"},                   False),
    (None,          {"a": "1", "b": 2},        {"a": "1", "b": 2},           True),      # all is the default
    (None,          {"a": "1", "b": 2},        {"b": 2},                     False),
    ("any",         {"a": "1", "b": 2},        {"b": 2},                     True),
    ("any",         {"a": "1", "b": 2},        {"b": 3},                     False),
    ("all",         {"a": 1},                  {"a": "1"},                   False),     # 1 is not "1"
    ("all",         {},                        {"a": 1},                     True),      # nothing asked, all granted
    ("any",         {},                        {"a": 1},                     False),     # nothing asked, none found
    ("all",         {"a": True},               {"a": True},                  True),
    ("all",         {"a": None},               {"a": "whatever"},            True),      # void: the header is there
    ("all",         {"a": None},               {"b": 1},                     False),
    ("all",         {"a": "1", "x-b": "2"},    {"a": "1"},                   True),      # x- is not looked at
    ("any",         {"x-b": "2"},              {"x-b": "2"},                 False),
    ("all-with-x",  {"a": "1", "x-b": "2"},    {"a": "1"},                   False),
    ("all-with-x",  {"a": "1", "x-b": "2"},    {"a": "1", "x-b": "2"},       True),
    ("any-with-x",  {"x-b": "2"},              {"x-b": "2"},                 True),
]


def test_a_headers_exchange_compares_headers(channel, fresh, peer):
    exchange = fresh()
    channel.exchange_declare(exchange, "headers", auto_delete=True)
    hold = queue_bound(channel, exchange, arguments={"x-match": "all", "nobody": "has this"})
    wrong = []
    for match, arguments, headers, routed in HEADERS:
        if match and "-with-x" in match and peer == "rabbitmq":
            continue                    # RabbitMQ has had these two since 3.11 only
        if match:
            arguments = dict(arguments, **{"x-match": match})
        queue = queue_bound(channel, exchange, arguments=arguments)
        channel.basic_publish(exchange, "ignored", b"x", pika.BasicProperties(headers=headers))
        if (bodies(channel, queue) == [b"x"]) != routed:
            wrong.append((match, arguments, headers, routed))
        channel.queue_delete(queue)
    channel.queue_delete(hold)
    assert wrong == []


def test_a_bad_x_match_is_406(channel, channel_refused):
    queue = channel.queue_declare("", exclusive=True).method.queue
    with channel_refused(406):
        channel.queue_bind(queue, "amq.headers", "", {"x-match": "some"})


def test_a_queue_bound_twice_gets_one_copy(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    queue = queue_bound(channel, exchange, "a.#")
    channel.queue_bind(queue, exchange, "#.b")
    channel.basic_publish(exchange, "a.b", b"once")
    assert bodies(channel, queue) == [b"once"]


def test_binding_the_same_twice_changes_nothing(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "direct")
    queue = queue_bound(channel, exchange, "k")
    channel.queue_bind(queue, exchange, "k")
    channel.queue_unbind(queue, exchange, "k")
    channel.basic_publish(exchange, "k", b"lost")
    assert bodies(channel, queue) == []
    channel.exchange_delete(exchange)


def test_unbinding_stops_the_flow(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "direct")
    queue = queue_bound(channel, exchange, "k")
    channel.basic_publish(exchange, "k", b"before")
    channel.queue_unbind(queue, exchange, "k")
    channel.basic_publish(exchange, "k", b"after")
    assert bodies(channel, queue) == [b"before"]
    channel.exchange_delete(exchange)


def test_unbinding_what_is_not_bound_succeeds(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_unbind(queue, "amq.direct", "never bound")


def test_one_key_may_lead_to_many_queues_and_many_keys_to_one(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    both = [queue_bound(channel, exchange, "k") for _ in range(2)]
    channel.queue_bind(both[0], exchange, "l")
    channel.basic_publish(exchange, "k", b"k")
    channel.basic_publish(exchange, "l", b"l")
    assert [bodies(channel, q) for q in both] == [[b"k", b"l"], [b"k"]]


def test_an_auto_delete_exchange_goes_with_its_last_binding(channel, fresh, channel_refused):
    exchange = fresh()
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    queue = queue_bound(channel, exchange)
    channel.queue_unbind(queue, exchange, "")
    with channel_refused(404, "NOT_FOUND - no exchange '%s' in vhost '/'" % exchange):
        channel.exchange_declare(exchange, passive=True)


def test_declaring_again_with_the_same_properties_succeeds(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.exchange_delete(exchange)


@pytest.mark.parametrize("second, text", [
    (dict(exchange_type="fanout", durable=True),
     "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '%s' in vhost '/': received 'fanout' but current is 'topic'"),
    (dict(exchange_type="topic", durable=False),
     "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '%s' in vhost '/': received 'false' but current is 'true'"),
    (dict(exchange_type="topic", durable=True, auto_delete=True),
     "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for exchange '%s' in vhost '/': received 'true' but current is 'false'"),
    (dict(exchange_type="topic", durable=True, internal=True),
     "PRECONDITION_FAILED - inequivalent arg 'internal' for exchange '%s' in vhost '/': received 'true' but current is 'false'"),
], ids=["type", "durable", "auto_delete", "internal"])
def test_declaring_an_exchange_again_with_another_property_is_406(amqp, fresh, channel_refused, second, text):
    exchange = fresh()
    connection = amqp.connection()
    channel = connection.channel()
    channel.exchange_declare(exchange, "topic", durable=True)
    with channel_refused(406, text % exchange):
        channel.exchange_declare(exchange, **second)
    connection.channel().exchange_delete(exchange)


def test_a_missing_exchange_is_404_for_a_passive_declare(channel, fresh, channel_refused):
    name = fresh()
    with channel_refused(404, "NOT_FOUND - no exchange '%s' in vhost '/'" % name):
        channel.exchange_declare(name, passive=True)


def test_publishing_to_a_missing_exchange_is_404(channel, fresh, channel_refused):
    name = fresh()
    with channel_refused(404, "NOT_FOUND - no exchange '%s' in vhost '/'" % name):
        channel.basic_publish(name, "k", b"x")
        channel.queue_declare("", exclusive=True)       # the answer to a publish comes with the next one


def test_binding_to_a_missing_exchange_is_404(channel, fresh, channel_refused):
    name = fresh()
    queue = channel.queue_declare("", exclusive=True).method.queue
    with channel_refused(404, "NOT_FOUND - no exchange '%s' in vhost '/'" % name):
        channel.queue_bind(queue, name, "k")


def test_binding_a_missing_queue_is_404(channel, fresh, channel_refused):
    name = fresh()
    with channel_refused(404, "NOT_FOUND - no queue '%s' in vhost '/'" % name):
        channel.queue_bind(name, "amq.direct", "k")


def test_an_unknown_exchange_type_is_refused(amqp, fresh, peer):
    raw = amqp.raw()
    raw.open()
    raw.channel(1)
    raw.method(1, spec.Exchange.Declare(exchange=fresh(), type="nonsense"))
    close = raw.read().method
    # RabbitMQ 3 closes the connection with 503, RabbitMQ 4 the channel with 406, as we do.
    code, kind, name = (503, spec.Connection.Close, "COMMAND_INVALID") if peer == "rabbitmq" \
        else (406, spec.Channel.Close, "PRECONDITION_FAILED")
    assert isinstance(close, kind)
    assert (close.reply_code, close.reply_text) == (code, name + " - unknown exchange type 'nonsense'")


def test_names_that_begin_with_amq_are_reserved(channel, channel_refused):
    with channel_refused(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"):
        channel.exchange_declare("amq.mine", "direct")


@pytest.mark.parametrize("what", ["declare", "delete", "bind", "unbind"])
def test_the_default_exchange_is_not_touched(amqp, channel_refused, what):
    channel = amqp.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    with channel_refused(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        {
            "declare": lambda: channel.exchange_declare("", "direct", durable=True),
            "delete": lambda: channel.exchange_delete(""),
            "bind": lambda: channel.queue_bind(queue, "", "k"),
            "unbind": lambda: channel.queue_unbind(queue, "", "k"),
        }[what]()


def test_a_predeclared_exchange_cannot_be_deleted(channel, channel_refused):
    with channel_refused(403):
        channel.exchange_delete("amq.direct")


def test_deleting_a_missing_exchange_succeeds(channel, fresh):
    channel.exchange_delete(fresh())


def test_deleting_an_exchange_if_unused_keeps_one_in_use(amqp, fresh, channel_refused):
    exchange = fresh()
    connection = amqp.connection()
    channel = connection.channel()
    channel.exchange_declare(exchange, "direct")
    queue = queue_bound(channel, exchange, "k")
    with channel_refused(406, "PRECONDITION_FAILED - exchange '%s' in vhost '/' in use" % exchange):
        channel.exchange_delete(exchange, if_unused=True)
    channel = connection.channel()
    channel.queue_unbind(queue, exchange, "k")
    channel.exchange_delete(exchange, if_unused=True)


def test_deleting_an_exchange_removes_its_bindings(channel, fresh):
    exchange = fresh()
    channel.exchange_declare(exchange, "direct")
    queue = queue_bound(channel, exchange, "k")
    channel.exchange_delete(exchange)
    channel.exchange_declare(exchange, "direct")
    channel.basic_publish(exchange, "k", b"lost")
    assert bodies(channel, queue) == []
    channel.exchange_delete(exchange)


def test_an_internal_exchange_takes_no_publish(amqp, fresh, channel_refused):
    exchange = fresh()
    connection = amqp.connection()
    channel = connection.channel()
    channel.exchange_declare(exchange, "fanout", internal=True)
    with channel_refused(403, "ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost '/'" % exchange):
        channel.basic_publish(exchange, "", b"x")
        channel.queue_declare("", exclusive=True)
    connection.channel().exchange_delete(exchange)


def test_durable_exchanges_and_bindings_survive_a_restart_and_others_do_not(amqp, fresh, channel_refused):
    kept, lost, queue = fresh("kept"), fresh("lost"), fresh("queue")
    channel = amqp.channel()
    channel.exchange_declare(kept, "topic", durable=True)
    channel.exchange_declare(lost, "topic", durable=False)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, kept, "order.*")
    channel.queue_bind(queue, lost, "order.*")

    amqp.restart()

    channel = amqp.channel()
    channel.basic_publish(kept, "order.created", b"still routed")
    assert bodies(channel, queue) == [b"still routed"]
    channel.queue_delete(queue)
    channel.exchange_delete(kept)
    with channel_refused(404):
        channel.exchange_declare(lost, passive=True)
