# Transactions through confluent-kafka, that is librdkafka: version 1 of them,
# partitions and groups are added before they are written to.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

import pytest
from test_confluent import CHAPTER, CLIENT, rd  # noqa: F401

confluent_kafka = pytest.importorskip("confluent_kafka")
from confluent_kafka import KafkaError, KafkaException, TopicPartition  # noqa: E402


def opened(rd, tid, **more):
    producer = rd.producer(transactional_id=tid, **more)
    producer.init_transactions(20)
    return producer


def write(producer, topic, values, end="commit"):
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0
    if end == "commit":
        producer.commit_transaction(20)
    elif end == "abort":
        producer.abort_transaction(20)


def seen(rd, topic, seconds=2, level="read_committed", partition=0):
    """Everything that is there for this level, from the beginning."""
    consumer = rd.consumer(isolation_level=level, enable_partition_eof=True)
    consumer.assign([TopicPartition(topic, partition, 0)])
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        message = consumer.poll(0.2)
        if message is not None and message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                return found
            raise KafkaException(message.error())
        if message is not None:
            found.append(message.value())
    raise AssertionError("no end within %d s, after %r" % (seconds, found[-3:]))


def test_several_partitions_and_topics_are_committed_together(rd, fresh):
    one, other = rd.create(fresh("one"), partitions=3), rd.create(fresh("other"))
    producer = opened(rd, fresh("tx"))
    producer.begin_transaction()
    for partition in range(3):
        producer.produce(one, b"%d" % partition, partition=partition)
    producer.produce(other, b"x")
    assert producer.flush(20) == 0
    assert [seen(rd, one, partition=p) for p in range(3)] == [[], [], []] and seen(rd, other) == []
    producer.commit_transaction(20)
    assert [seen(rd, one, partition=p) for p in range(3)] == [[b"0"], [b"1"], [b"2"]] and seen(rd, other) == [b"x"]


def test_a_transaction_that_takes_too_long_is_aborted(rd, peer, fresh):
    topic = rd.create(fresh())
    producer = opened(rd, fresh("tx"), transaction_timeout_ms=1500, message_timeout_ms=1500)
    write(producer, topic, [b"too late"], end="leave")
    time.sleep(15 if peer == "kafka" else 3)                # Apache Kafka looks every ten seconds
    with pytest.raises(KafkaException):
        producer.commit_transaction(20)
    assert seen(rd, topic) == []


def test_a_timeout_beyond_the_maximum_is_refused(rd, fresh):
    producer = rd.producer(transactional_id=fresh("tx"), transaction_timeout_ms=1000000)
    with pytest.raises(KafkaException) as caught:
        producer.init_transactions(20)
    assert caught.value.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT


def test_offsets_of_an_open_transaction_are_not_given_out(rd, fresh):
    topic, group = rd.create(fresh()), fresh("g")
    rd.send(topic, [b"%d" % n for n in range(10)])
    producer = opened(rd, fresh("tx"))
    consumer = rd.consumer(group_id=group, enable_auto_commit=False, isolation_level="read_committed")
    consumer.subscribe([topic])
    rd.read(consumer, 10)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([TopicPartition(topic, 0, 10)], consumer.consumer_group_metadata(), 20)
    with pytest.raises(KafkaException):                     # it asks again until its time is over
        rd.consumer(group_id=group, isolation_level="read_committed").committed([TopicPartition(topic, 0)], timeout=2)
    producer.commit_transaction(20)
    assert consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 10


def test_a_transaction_survives_a_kill(rd, server, fresh):
    topic, tid = rd.create(fresh()), fresh("tx")
    producer = opened(rd, tid)
    write(producer, topic, [b"before"])
    producer.begin_transaction()
    producer.produce(topic, b"across")
    assert producer.flush(20) == 0
    server.restart(kill=True)
    producer.produce(topic, b"after")
    producer.commit_transaction(40)
    assert seen(rd, topic, seconds=10) == [b"before", b"across", b"after"]
