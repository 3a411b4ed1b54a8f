# Settings of topics that are altered, and retention: what leaves a topic, when, and what a consumer notices.
#
# A broker of its own, that looks every 100 ms for what is too old or too much.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import time

import kafka
import pika
import pytest
from kafka import TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from broker import Broker, wait_until

CLIENT = "kafka-python " + kafka.__version__
CHAPTER = "Kafka"
MINUTE = 60 * 1000


@pytest.fixture(scope="module")
def keeper():
    broker = Broker(config="log.retention.check.interval.ms = 100\nlog.retention.hours = 1000000\n")
    broker.start()
    yield broker
    broker.stop()
    broker.close()


class Clients:
    def __init__(self, broker):
        self.broker = broker
        self.producer = kafka.KafkaProducer(bootstrap_servers=broker.kafka, acks="all")
        self.admin = kafka.KafkaAdminClient(bootstrap_servers=broker.kafka)
        self.closing = [self.producer, self.admin]

    def create(self, topic, **configs):
        self.admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configs)])
        return topic

    def alter(self, topic, **configs):
        answers = self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
        return answers

    def send(self, topic, count=1, age_ms=0, size=10):
        at = int(time.time() * 1000) - age_ms
        for n in range(count):
            self.producer.send(topic, b"%d" % n + b"." * size, timestamp_ms=at)
        self.producer.flush()

    def consumer(self, topic, **more):
        more.setdefault("auto_offset_reset", "earliest")
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.broker.kafka, consumer_timeout_ms=5000, **more)
        self.closing.append(consumer)
        consumer.assign([TopicPartition(topic, 0)])
        return consumer

    def beginning(self, topic):
        at = TopicPartition(topic, 0)
        return self.consumer(topic).beginning_offsets([at])[at]

    def begins(self, topic, offset):
        wait_until(lambda: self.beginning(topic) == offset, "the topic begins at %d" % offset, 15)


@pytest.fixture
def clients(keeper):
    it = Clients(keeper)
    yield it
    for each in it.closing:
        with contextlib.suppress(Exception):
            each.close()


def test_records_older_than_retention_ms_go_and_younger_ones_stay(clients, fresh):
    topic = clients.create(fresh(), **{"retention.ms": str(10 * MINUTE)})
    clients.send(topic, 3, age_ms=11 * MINUTE)
    clients.begins(topic, 3)
    clients.send(topic, 2, age_ms=9 * MINUTE)
    clients.send(topic, 2)
    time.sleep(0.5)
    assert clients.beginning(topic) == 3
    assert [r.offset for r in clients.consumer(topic)][:4] == [3, 4, 5, 6]


def test_the_oldest_records_go_while_retention_bytes_stay(clients, fresh):
    topic = clients.create(fresh(), **{"retention.bytes": "50000"})
    for _ in range(20):
        clients.send(topic, 1, size=10000)
    wait_until(lambda: clients.beginning(topic) >= 14, "the oldest are gone", 15)
    time.sleep(0.5)
    assert clients.beginning(topic) <= 15          # five of them are 50,000 bytes


def test_without_settings_records_stay_however_old(clients, fresh):
    topic = clients.create(fresh())
    clients.send(topic, 1, age_ms=10 * 365 * 24 * 60 * MINUTE)
    time.sleep(0.5)
    assert clients.beginning(topic) == 0


def test_the_brokers_default_is_shown_and_counts_where_the_topic_says_nothing(clients, fresh):
    topic = clients.create(fresh())
    everything = {"config_filter": "all"} if kafka.__version__ >= "3" else {}
    text = repr(clients.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=None)], **everything))
    assert str(1000000 * 60 * MINUTE) in text
    clients.send(topic, 1, age_ms=int(time.time() * 1000))     # of 1970
    time.sleep(0.5)
    assert clients.beginning(topic) == 0


def test_a_compacted_topic_with_a_retention_forgets_old_keys_too(clients, fresh):
    topic = clients.create(fresh(), **{"cleanup.policy": "compact,delete", "retention.ms": str(10 * MINUTE)})
    now = int(time.time() * 1000)
    for n in range(4):
        clients.producer.send(topic, b"old", key=b"k%d" % n, timestamp_ms=now - 11 * MINUTE)
    clients.begins(topic, 4)
    clients.producer.send(topic, b"new", key=b"k1", timestamp_ms=now)
    clients.producer.flush()
    assert [(r.offset, r.key) for r in clients.consumer(topic)] == [(4, b"k1")]


def test_an_altered_setting_counts_at_once_and_after_a_restart(clients, fresh):
    topic = clients.create(fresh())
    clients.send(topic, 3, age_ms=11 * MINUTE)
    clients.alter(topic, **{"retention.ms": str(10 * MINUTE)})
    clients.begins(topic, 3)
    clients.broker.restart(kill=True)
    again = Clients(clients.broker)
    clients.closing.extend(again.closing)
    assert again.beginning(topic) == 3
    again.send(topic, 1, age_ms=11 * MINUTE)
    again.begins(topic, 4)


def test_a_consumer_that_is_left_behind_goes_on_where_the_topic_begins(clients, fresh):
    topic = clients.create(fresh())
    clients.send(topic, 5, age_ms=11 * MINUTE)
    clients.alter(topic, **{"retention.ms": str(10 * MINUTE)})
    clients.begins(topic, 5)
    clients.send(topic, 1)
    consumer = clients.consumer(topic)
    consumer.seek(TopicPartition(topic, 0), 1)
    assert next(consumer).offset == 5

    strict = clients.consumer(topic, auto_offset_reset="none")
    strict.seek(TopicPartition(topic, 0), 1)
    with pytest.raises(errors.KafkaError):
        next(strict)


def test_a_value_that_makes_no_sense_cannot_be_altered_to(clients, fresh):
    topic = clients.create(fresh())
    with contextlib.suppress(errors.KafkaError):     # some versions raise, others answer
        assert "Not a number of type LONG" in repr(clients.alter(topic, **{"retention.ms": "a week"}))
    clients.send(topic, 1, age_ms=365 * 24 * 60 * MINUTE)
    time.sleep(0.3)
    assert clients.beginning(topic) == 0


def test_a_timestamp_too_far_from_the_brokers_time_is_refused(clients, fresh):
    topic = clients.create(fresh(), **{"message.timestamp.before.max.ms": str(MINUTE),
                                       "message.timestamp.after.max.ms": str(MINUTE)})
    for age_ms in (2 * MINUTE, -2 * MINUTE):
        other = kafka.KafkaProducer(bootstrap_servers=clients.broker.kafka)
        with pytest.raises(errors.InvalidTimestampError):
            other.send(topic, b"x", timestamp_ms=int(time.time() * 1000) - age_ms).get(timeout=10)
        other.close()
    clients.send(topic, 1)
    assert next(clients.consumer(topic)).offset == 0


@contextlib.contextmanager
def amqp(broker):
    host, port = broker.amqp.split(":")
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
    yield connection.channel()
    connection.close()


def test_what_a_queue_still_owes_is_not_lost(clients, fresh):
    topic = clients.create(fresh(), **{"retention.ms": str(10 * MINUTE)})
    with amqp(clients.broker) as channel:
        channel.queue_declare(topic, durable=True)
        clients.send(topic, 3, age_ms=11 * MINUTE)
        clients.begins(topic, 3)
        got = [wait_until(lambda: channel.basic_get(topic, auto_ack=True)[2], "a message", 5) for _ in range(3)]
        assert [body[:1] for body in got] == [b"0", b"1", b"2"]


def test_a_queue_with_x_retention_ms_keeps_what_was_acknowledged_for_replay(clients, fresh):
    name = fresh()
    with amqp(clients.broker) as channel:
        channel.queue_declare(name, durable=True, arguments={"x-retention-ms": 10 * MINUTE})
        channel.confirm_delivery()
        for n in range(5):
            channel.basic_publish("", name, b"%d" % n, pika.BasicProperties(delivery_mode=2))
        for n in range(5):
            method, _, body = channel.basic_get(name)
            assert body == b"%d" % n
            channel.basic_ack(method.delivery_tag)
        assert channel.queue_declare(name, passive=True).method.message_count == 0
    clients.broker.restart(kill=True)
    again = Clients(clients.broker)
    clients.closing.extend(again.closing)
    consumer = again.consumer(name)
    assert [next(consumer).value for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]

    # The time is a setting of the topic.
    again.alter(name, **{"retention.ms": "1"})
    again.begins(name, 5)


def test_x_retention_ms_is_refused_where_it_contradicts(clients, fresh):
    topic, queue = clients.create(fresh("topic")), fresh("queue")
    for name, first in ((topic, None), (queue, {"x-retention-ms": 1000})):
        with amqp(clients.broker) as channel:
            if first:
                channel.queue_declare(name, durable=True, arguments=first)
            with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
                channel.queue_declare(name, durable=True, arguments={"x-retention-ms": 5000})
            assert refused.value.reply_code == 406 and "x-retention-ms" in refused.value.reply_text
