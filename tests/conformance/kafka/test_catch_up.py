# Catching up: what is read long after it was written, when it is neither in
# the broker's memory nor, after a restart, in anybody's.
#
# The broker here has little memory of its own: most of what it has is read
# from its segments.  librdkafka checks the checksum of every batch.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import glob
import hashlib
import os
import threading
import time

import pytest

confluent_kafka = pytest.importorskip("confluent_kafka")
pika = pytest.importorskip("pika")
from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic         # noqa: E402

from broker import Broker                                       # noqa: E402
from certificates import Authority                              # noqa: E402

CLIENT = "confluent-kafka " + confluent_kafka.__version__
CHAPTER = "Kafka"
VALUE_BYTES = 8000


@pytest.fixture
def small():
    if "HAWSER_TEST_PEER" in os.environ:
        pytest.skip("about our own disk")
    with contextlib.closing(Broker(options=["--set", "cache_size=1MiB", "--set", "journal_file_size=1MiB"])) as broker:
        broker.start()
        yield broker
        broker.stop()


def settings(broker, **more):
    return dict({"bootstrap.servers": broker.kafka, "broker.address.family": "v4"}, **more)


def create(broker, topic, partitions=1):
    admin = AdminClient(settings(broker))
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)
    return topic


def value(number):
    seed = hashlib.sha256(b"%d" % number).digest()
    return b"%08d" % number + (seed * (VALUE_BYTES // len(seed)))


def produce(broker, topic, numbers):
    producer = Producer(settings(broker, acks="all", **{"batch.size": 200000, "linger.ms": 5}))
    failed = []
    for number in numbers:
        producer.produce(topic, value(number), partition=0, on_delivery=lambda e, m: e and failed.append(e))
        producer.poll(0)
        if len(producer) > 1000:
            producer.flush(10)
    assert producer.flush(30) == 0 and not failed


def consume(broker, topic, count, timeout_s=40, **more):
    """All values from the first offset on; offsets must follow each other."""
    consumer = Consumer(settings(broker, **dict({"group.id": "none", "check.crcs": True, "auto.offset.reset": "error"}, **more)))
    found = []
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        end = time.monotonic() + timeout_s
        while len(found) < count and time.monotonic() < end:
            for message in consumer.consume(500, 1):
                assert message.error() is None, message.error()
                assert message.offset() == len(found)
                found.append(message.value())
    finally:
        consumer.close()
    assert len(found) == count
    return found


def forget_pages(broker):
    """Segments are on the disk only."""
    for path in glob.glob(os.path.join(broker.data, "shard-*", "segments", "*.seg")):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def test_a_topic_larger_than_the_memory_is_read_after_a_restart(small):
    topic = create(small, "large")
    produce(small, topic, range(4000))
    for kill in (False, True):
        small.restart(kill=kill)
        forget_pages(small)
        found = consume(small, topic, 4000)
        assert all(found[i] == value(i) for i in range(4000))
    # And again, in memory now, in small portions and in large ones.
    for portion in (20000, 1 << 20):
        found = consume(small, topic, 4000, **{"max.partition.fetch.bytes": portion})
        assert all(found[i] == value(i) for i in range(4000))


def test_more_than_a_hundred_megabytes_are_fetched_by_TLS_recent_and_cold(tmp_path):
    if "HAWSER_TEST_PEER" in os.environ:
        pytest.skip("about our own disk")
    ca = Authority(tmp_path)
    certificate, key = ca.issue("localhost")
    count = 13500
    options = ["--set", "cache_size=1MiB", "--set", "journal_file_size=16MiB", "--set", "tls.certificate=" + certificate,
               "--set", "tls.key=" + key]
    with contextlib.closing(Broker(listen={"kafka-tls": "127.0.0.1:0"}, options=options)) as broker:
        broker.start()
        tls = {"bootstrap.servers": broker.address("kafka-tls").replace("127.0.0.1", "localhost"), "security.protocol": "ssl",
               "ssl.ca.location": ca.certificate, "ssl.endpoint.identification.algorithm": "none",
               "fetch.max.bytes": 50 << 20, "max.partition.fetch.bytes": 50 << 20}
        topic = create(broker, "by-tls")
        produce(broker, topic, range(count))
        for cold in (False, True):
            if cold:
                broker.restart(kill=True)
                forget_pages(broker)
            before = broker.resident_kib()
            found = consume(broker, topic, count, **tls)
            assert all(found[i] == value(i) for i in range(count))
            assert broker.resident_kib() - before < 100000       # no answer is held in memory
        assert broker.stop() == 0


def test_those_who_catch_up_do_not_hold_up_the_others(small):
    old, new = create(small, "old"), create(small, "new")
    produce(small, old, range(4000))
    small.restart()
    forget_pages(small)
    results = {}

    def catch_up(name):
        results[name] = consume(small, old, 4000)

    readers = [threading.Thread(target=catch_up, args=(name,)) for name in ("first", "second")]
    for reader in readers:
        reader.start()
    produce(small, new, range(100))
    assert consume(small, new, 100) == [value(i) for i in range(100)]
    for reader in readers:
        reader.join()
    assert results["first"] == results["second"] == [value(i) for i in range(4000)]


def test_messages_of_amqp_lie_between_those_of_kafka(small):
    topic = create(small, "mixed")
    expected = []

    def publish(numbers):
        host, port = small.amqp.split(":")
        connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(topic, durable=True)
        for number in numbers:
            channel.basic_publish("", topic, value(number), pika.BasicProperties(delivery_mode=2))
        connection.close()
        expected.extend(numbers)

    for first in range(0, 2000, 500):
        publish(range(10000 + first, 10003 + first))
        produce(small, topic, range(first, first + 500))
        expected.extend(range(first, first + 500))
    for restart in (False, True):
        if restart:
            small.restart(kill=True)
            forget_pages(small)
        assert consume(small, topic, len(expected)) == [value(i) for i in expected]
