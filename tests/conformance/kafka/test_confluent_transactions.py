# Transactions through confluent-kafka, that is librdkafka: version 1 of them,
# partitions and groups are added before they are written to.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
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


def test_committed_records_are_seen_and_aborted_ones_are_not(rd, fresh):
    topic = rd.create(fresh())
    producer = opened(rd, fresh("tx"))
    write(producer, topic, [b"a%d" % n for n in range(20)])
    write(producer, topic, [b"b%d" % n for n in range(20)], end="abort")
    write(producer, topic, [b"c%d" % n for n in range(10)])
    assert seen(rd, topic) == [b"a%d" % n for n in range(20)] + [b"c%d" % n for n in range(10)]
    assert len(seen(rd, topic, level="read_uncommitted")) == 50


def test_an_open_transaction_hides_what_comes_behind_it(rd, fresh):
    topic = rd.create(fresh())
    producer = opened(rd, fresh("tx"))
    rd.send(topic, [b"before"])
    write(producer, topic, [b"open"], end="leave")
    rd.send(topic, [b"behind"])
    assert seen(rd, topic) == [b"before"]
    assert seen(rd, topic, level="read_uncommitted") == [b"before", b"open", b"behind"]
    low, high = rd.consumer(isolation_level="read_committed").get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    assert (low, high) == (0, 1)
    producer.commit_transaction(20)
    assert seen(rd, topic) == [b"before", b"open", b"behind"]


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


def test_records_are_copied_exactly_once_with_their_offsets(rd, fresh):
    source, target, group = rd.create(fresh("from")), rd.create(fresh("to")), fresh("g")
    rd.send(source, [b"%d" % n for n in range(50)])
    producer = opened(rd, fresh("copy"))
    consumer = rd.consumer(group_id=group, enable_auto_commit=False, isolation_level="read_committed")
    consumer.subscribe([source])
    copied, aborted = 0, False
    while copied < 50:
        messages = rd.read(consumer, 10)
        producer.begin_transaction()
        for message in messages:
            producer.produce(target, message.value() + b"!")
        position = consumer.position([TopicPartition(source, 0)])
        producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), 20)
        if not aborted:
            producer.abort_transaction(20)
            aborted = True
            at = consumer.committed([TopicPartition(source, 0)], timeout=10)[0].offset
            consumer.seek(TopicPartition(source, 0, max(at, 0)))
            continue
        producer.commit_transaction(20)
        copied += len(messages)
    assert seen(rd, target) == [b"%d!" % n for n in range(50)]
    assert consumer.committed([TopicPartition(source, 0)], timeout=10)[0].offset == 50


def test_a_second_producer_shuts_out_the_first(rd, fresh):
    topic, tid = rd.create(fresh()), fresh("tx")
    first = opened(rd, tid)
    write(first, topic, [b"of the first"], end="leave")
    second = opened(rd, tid)
    write(second, topic, [b"of the second"])
    with pytest.raises(KafkaException) as caught:
        first.commit_transaction(20)
    assert caught.value.args[0].fatal() and caught.value.args[0].code() == KafkaError._FENCED
    assert seen(rd, topic) == [b"of the second"]


def test_a_transaction_that_was_left_open_is_aborted_by_the_next_producer(server, rd, fresh):
    topic, tid = rd.create(fresh()), fresh("tx")
    subprocess.run([sys.executable, "-c", """if True:
        import os, sys
        from confluent_kafka import Producer
        producer = Producer({"bootstrap.servers": sys.argv[1], "transactional.id": sys.argv[3]})
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(sys.argv[2], b"left")
        assert producer.flush(20) == 0
        os._exit(0)
    """, server.kafka, topic, tid], check=True, timeout=30)
    assert seen(rd, topic) == [] and seen(rd, topic, level="read_uncommitted") == [b"left"]
    write(opened(rd, tid), topic, [b"next"])
    assert seen(rd, topic) == [b"next"]


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
