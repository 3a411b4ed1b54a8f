# Kafka through confluent-kafka, that is librdkafka: the client under most
# languages, where it says more than the driver (test_kafka_clients.py) does.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

import pytest

confluent_kafka = pytest.importorskip("confluent_kafka")
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic  # noqa: E402

from broker import wait_until                                                               # noqa: E402

CLIENT = "confluent-kafka " + confluent_kafka.__version__
CHAPTER = "Kafka"


class Confluent:
    def __init__(self, address):
        self.address = address
        self.consumers = []
        self._admin = None

    def producer(self, **more):
        return Producer(self.settings(**more))

    def settings(self, **more):
        found = {"bootstrap.servers": self.address, "broker.address.family": "v4"}
        found.update({name.replace("_", "."): value for name, value in more.items()})
        return found

    def consumer(self, **more):
        more.setdefault("auto_offset_reset", "earliest")
        more.setdefault("group_id", "unused")
        consumer = Consumer(self.settings(**more))
        self.consumers.append(consumer)
        return consumer

    def admin(self):
        # One for the whole test: its answers are lost when it is collected.
        self._admin = self._admin or AdminClient(self.settings())
        return self._admin

    def create(self, topic, partitions=1, **configs):
        for future in self.admin().create_topics([NewTopic(topic, partitions, 1, config=configs)]).values():
            future.result(20)
        return topic

    def send(self, topic, values, **more):
        """Produce them all; returns the offsets, or raises the first error."""
        said = []
        producer = self.producer(**more)
        for value in values:
            producer.produce(topic, value, on_delivery=lambda error, message: said.append(error or message))
        assert producer.flush(20) == 0
        for it in said:
            if isinstance(it, KafkaError):
                raise KafkaException(it)
        return [message.offset() for message in said]

    def read(self, consumer, count, timeout_s=20):
        found = []
        end = time.monotonic() + timeout_s
        while len(found) < count and time.monotonic() < end:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            found.append(message)
        assert len(found) == count, "%d records within %d s, expected %d" % (len(found), timeout_s, count)
        return found

    def assigned(self, topic, offset=0, **more):
        consumer = self.consumer(**more)
        consumer.assign([TopicPartition(topic, 0, offset)])
        return consumer


@pytest.fixture
def rd(server):
    it = Confluent(server.kafka)
    yield it
    for consumer in it.consumers:
        consumer.close()


def code_of(caught):
    return caught.value.args[0].code()


def test_a_topic_is_created_when_it_is_first_written_to(rd, fresh):
    assert rd.send(fresh(), [b"hello"]) == [0]


def test_an_unknown_topic_is_an_error_for_a_reader_that_may_not_create_it(rd, fresh):
    topic = fresh("missing")
    consumer = rd.consumer(group_id=fresh("g"), allow_auto_create_topics=False)
    consumer.subscribe([topic])
    with pytest.raises(KafkaException) as caught:
        rd.read(consumer, 1, timeout_s=15)
    assert code_of(caught) == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert topic not in rd.admin().list_topics(timeout=10).topics


def test_a_setting_is_altered_and_altered_back(rd, fresh):
    topic = rd.create(fresh(), **{"segment.ms": "5000"})

    def settings():
        future, = rd.admin().describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
        return future.result(20)

    def alter(operation, value):
        entry = ConfigEntry("max.message.bytes", value, incremental_operation=operation)
        future, = rd.admin().incremental_alter_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])]).values()
        future.result(20)

    alter(AlterConfigOpType.SET, "345678")
    wait_until(lambda: settings()["max.message.bytes"].value == "345678", "the setting is altered")
    alter(AlterConfigOpType.DELETE, None)
    wait_until(lambda: settings()["max.message.bytes"].value == "1048588", "the setting is its default again")
    assert settings()["segment.ms"].value == "5000"
    with pytest.raises(KafkaException) as caught:
        alter(AlterConfigOpType.SET, "a lot")
    assert code_of(caught) == KafkaError.INVALID_CONFIG


def test_the_cluster_is_described(rd):
    answer = rd.admin().describe_cluster().result(20)
    assert answer.cluster_id and len(answer.nodes) == 1
    assert answer.controller.id == answer.nodes[0].id


def test_the_broker_advertises_the_address_that_was_connected_to(rd):
    node = rd.admin().describe_cluster().result(20).nodes[0]
    assert "%s:%d" % (node.host, node.port) == rd.address
