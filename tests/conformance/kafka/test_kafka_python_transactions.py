# Transactions through kafka-python, which has had them since version 3.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

import kafka
import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata
from test_kafka_python import CHAPTER, CLIENT, NEW  # noqa: F401

pytestmark = pytest.mark.skipif(not NEW, reason="kafka-python 2 has no transactions")


def opened(kafka_, tid, **more):
    producer = kafka_.producer(transactional_id=tid, **more)
    producer.init_transactions()
    return producer


def write(producer, topic, values, end="commit"):
    producer.begin_transaction()
    for value in values:
        producer.send(topic, value)
    producer.flush()
    if end == "commit":
        producer.commit_transaction()
    elif end == "abort":
        producer.abort_transaction()


def seen(kafka_, topic, seconds=2, level="read_committed"):
    consumer = kafka_.assigned(topic, isolation_level=level)
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        for some in consumer.poll(timeout_ms=500).values():
            found.extend(message.value for message in some)
    return found


def test_committed_records_are_seen_and_aborted_ones_are_not(kafka_, fresh):
    topic = kafka_.create(fresh())
    producer = opened(kafka_, fresh("tx"))
    write(producer, topic, [b"a%d" % n for n in range(20)])
    write(producer, topic, [b"b%d" % n for n in range(20)], end="abort")
    write(producer, topic, [b"c%d" % n for n in range(10)])
    assert seen(kafka_, topic) == [b"a%d" % n for n in range(20)] + [b"c%d" % n for n in range(10)]
    assert len(seen(kafka_, topic, level="read_uncommitted")) == 50


def test_an_open_transaction_hides_what_comes_behind_it(kafka_, fresh):
    topic = kafka_.create(fresh())
    producer = opened(kafka_, fresh("tx"))
    write(producer, topic, [b"open"], end="leave")
    kafka_.producer().send(topic, b"behind").get(timeout=10)
    assert seen(kafka_, topic) == []
    producer.commit_transaction()
    assert seen(kafka_, topic) == [b"open", b"behind"]


def test_records_are_copied_exactly_once_with_their_offsets(kafka_, fresh):
    source, target, group = kafka_.create(fresh("from")), kafka_.create(fresh("to")), fresh("g")
    for n in range(20):
        kafka_.producer().send(source, b"%d" % n).get(timeout=10)
    producer = opened(kafka_, fresh("copy"))
    consumer = kafka_.consumer(source, group_id=group, enable_auto_commit=False, isolation_level="read_committed")
    messages = kafka_.records(consumer, 20)
    here = TopicPartition(source, 0)
    for end in ("abort", "commit"):
        producer.begin_transaction()
        for message in messages:
            producer.send(target, message.value + b"!")
        producer.send_offsets_to_transaction({here: OffsetAndMetadata(20, "", -1)}, consumer.group_metadata())
        if end == "abort":
            producer.abort_transaction()
            assert consumer.committed(here) is None
        else:
            producer.commit_transaction()
    assert seen(kafka_, target) == [b"%d!" % n for n in range(20)]
    assert consumer.committed(here) == 20


def test_a_second_producer_shuts_out_the_first(kafka_, fresh):
    topic, tid = kafka_.create(fresh()), fresh("tx")
    first = opened(kafka_, tid)
    write(first, topic, [b"of the first"], end="leave")
    second = opened(kafka_, tid)
    write(second, topic, [b"of the second"])
    with pytest.raises(kafka.errors.KafkaError):
        first.commit_transaction()
    assert seen(kafka_, topic) == [b"of the second"]
