# Kafka through kafka-python, where it says more than the driver (test_kafka_clients.py) does.
#
# kafka-python 2.0.2 knows no idempotence, no describe cluster and no headers in
# some calls; what a library cannot say is skipped, and is a dash in the table.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import threading
import time

import kafka
import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka import errors
from kafka.structs import OffsetAndMetadata

from broker import wait_until

CLIENT = "kafka-python " + kafka.__version__
CHAPTER = "Kafka"
NEW = int(kafka.__version__.split(".")[0]) >= 3
SECOND = 1000


def committed(offset, text=""):
    """OffsetAndMetadata has had two and three members."""
    return OffsetAndMetadata(*(offset, text, -1)[:len(OffsetAndMetadata._fields)])


# -- topics ----------------------------------------------------------------

def test_a_topic_is_created_when_it_is_first_written_to(kafka_, fresh):
    topic = fresh()
    sent = kafka_.producer().send(topic, b"hello").get(timeout=10)
    assert (sent.topic, sent.partition, sent.offset) == (topic, 0, 0)


def test_a_topic_is_created_when_it_is_first_subscribed_to(kafka_, fresh):
    topic = fresh()
    consumer = kafka_.consumer(topic, group_id=fresh("g"))
    consumer.poll(timeout_ms=200)
    wait_until(lambda: consumer.poll(timeout_ms=100) or topic in kafka_.consumer().topics(), "the topic is listed")


def test_a_topic_is_created_with_its_partitions(kafka_, fresh):
    topic = kafka_.create(fresh(), partitions=5)
    assert kafka_.consumer().partitions_for_topic(topic) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", ["with space", "sla/sh", "..", "x" * 250], ids=["space", "slash", "dots", "250 bytes"])
def test_a_topic_name_that_Kafka_forbids_is_refused(kafka_, name):
    with pytest.raises(errors.InvalidTopicError):
        kafka_.create(name)


@pytest.mark.parametrize("partitions", [0, -5])
def test_a_number_of_partitions_below_one_is_refused(kafka_, fresh, partitions):
    with pytest.raises(errors.InvalidPartitionsError):
        kafka_.create(fresh(), partitions=partitions)


def test_more_replicas_than_brokers_are_refused(kafka_, fresh):
    with pytest.raises(errors.InvalidReplicationFactorError):
        kafka_.admin().create_topics([NewTopic(fresh(), 1, 3)])


def test_a_topic_can_be_validated_without_being_created(kafka_, fresh):
    topic = fresh()
    kafka_.admin().create_topics([NewTopic(topic, 1, 1)], validate_only=True)
    assert topic not in kafka_.consumer().topics()


def test_a_topic_created_again_is_empty(kafka_, fresh):
    topic = kafka_.create(fresh())
    kafka_.producer().send(topic, b"old").get(timeout=10)
    kafka_.admin().delete_topics([topic])
    wait_until(lambda: topic not in kafka_.consumer().topics(), "the topic is not listed any more")
    kafka_.create(topic)
    assert kafka_.producer().send(topic, b"new").get(timeout=10).offset == 0
    assert [r.value for r in kafka_.records(kafka_.assigned(topic), 1)] == [b"new"]


def test_topics_and_records_survive_a_restart(kafka_, fresh):
    topic = kafka_.create(fresh(), partitions=3)
    producer = kafka_.producer(acks="all")
    for n in range(30):
        producer.send(topic, b"%d" % n, partition=n % 3)
    producer.flush()

    kafka_.restart()

    assert kafka_.consumer().partitions_for_topic(topic) == {0, 1, 2}
    for partition in range(3):
        got = kafka_.records(kafka_.assigned(topic, partition), 10)
        assert [r.value for r in got] == [b"%d" % n for n in range(partition, 30, 3)]
        assert [r.offset for r in got] == list(range(10))


# -- records ---------------------------------------------------------------


COMPACTED = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01",
             "delete.retention.ms": "1000"}


def all_records(kafka_, topic):
    """All there is, up to the end of the partition as it is now."""
    consumer = kafka_.assigned(topic)
    partition = kafka.TopicPartition(topic, 0)
    end = consumer.end_offsets([partition])[partition]
    found = []
    while consumer.position(partition) < end:
        for some in consumer.poll(timeout_ms=200).values():
            found.extend(some)
    consumer.close()
    return [(r.offset, r.key, r.value) for r in found]


@pytest.mark.parametrize("codec", [None, "gzip"])
def test_a_compacted_topic_keeps_the_newest_record_of_each_key(kafka_, fresh, codec, peer):
    if peer == "kafka":
        pytest.skip("Kafka leaves the last segment alone until something more is written")
    topic = kafka_.create(fresh(), **COMPACTED)
    producer = kafka_.producer(compression_type=codec, linger_ms=5)
    for n in range(20000):
        producer.send(topic, b"v%d" % n, key=b"k%d" % (n % 20))
    producer.flush()
    newest = [(n, b"k%d" % (n % 20), b"v%d" % n) for n in range(19980, 20000)]
    wait_until(lambda: all_records(kafka_, topic) == newest, "compaction", 20, 0.3)
    assert committed_end(kafka_, topic) == 20000


def committed_end(kafka_, topic):
    partition = kafka.TopicPartition(topic, 0)
    return kafka_.assigned(topic).end_offsets([partition])[partition]


def test_a_tombstone_goes_after_its_time_and_its_key_does_not_come_back(kafka_, fresh, peer):
    if peer == "kafka":
        pytest.skip("Kafka leaves the last segment alone until something more is written")
    topic = kafka_.create(fresh(), **COMPACTED)
    producer = kafka_.producer()
    for key, value in ((b"a", b"1"), (b"b", b"1"), (b"a", None)):
        producer.send(topic, value, key=key)
    producer.flush()
    wait_until(lambda: all_records(kafka_, topic) == [(1, b"b", b"1"), (2, b"a", None)], "compaction", 10, 0.2)
    time.sleep(1.2)
    producer.send(topic, b"2", key=b"b").get(10)
    wait_until(lambda: all_records(kafka_, topic) == [(3, b"b", b"2")], "the tombstone's end", 10, 0.2)


def test_a_record_larger_than_the_fetch_limit_is_still_delivered(kafka_, fresh):
    """The first batch always comes, however small the limit (KIP-74)."""
    topic = kafka_.create(fresh())
    producer = kafka_.producer()
    for size in (100, 300000, 100):
        producer.send(topic, b"x" * size)
        producer.flush()
    consumer = kafka_.assigned(topic, max_partition_fetch_bytes=1000, fetch_max_bytes=1000)
    assert [len(r.value) for r in kafka_.records(consumer, 3)] == [100, 300000, 100]


def test_a_waiting_reader_is_woken_by_a_new_record(kafka_, fresh):
    """Long poll: with a wait of 5 s the record must be there much earlier."""
    topic = kafka_.create(fresh())
    consumer = kafka_.assigned(topic, fetch_max_wait_ms=5000, request_timeout_ms=30000)
    assert consumer.poll(timeout_ms=500) == {}          # a fetch is now parked at the broker
    producer = kafka_.producer()
    producer.partitions_for(topic)
    took = []
    for n in range(5):
        sender = threading.Timer(0.2, lambda: took.append(time.monotonic()) or producer.send(topic, b"wake up"))
        sender.start()
        kafka_.records(consumer, 1, timeout_s=4)
        took[-1] = time.monotonic() - took[-1]
        sender.join()
    assert sorted(took)[2] < 0.5, took


def test_a_wait_without_records_ends_after_the_time_given(kafka_, fresh):
    topic = kafka_.create(fresh())
    consumer = kafka_.assigned(topic, fetch_max_wait_ms=300)
    began = time.monotonic()
    assert consumer.poll(timeout_ms=1500) == {}
    assert time.monotonic() - began < 4


def test_an_offset_beyond_the_end_is_out_of_range(kafka_, fresh):
    topic = kafka_.create(fresh())
    kafka_.producer().send(topic, b"x").get(timeout=10)
    consumer = kafka_.assigned(topic, auto_offset_reset="none")
    consumer.seek(TopicPartition(topic, 0), 1000)
    with pytest.raises(errors.OffsetOutOfRangeError):
        kafka_.records(consumer, 1, timeout_s=5)


def test_an_idempotent_producer_goes_on_after_a_restart(kafka_, fresh):
    """The broker rebuilds what it knew about the producer's sequence."""
    if not NEW:
        pytest.skip("the library knows no idempotence")
    topic = kafka_.create(fresh())
    producer = kafka_.producer(enable_idempotence=True, acks="all", retries=1000)
    for n in range(100):
        producer.send(topic, b"%d" % n)
    producer.flush()
    kafka_.server.restart()
    futures = [producer.send(topic, b"%d" % n) for n in range(100, 200)]
    producer.flush(timeout=30)
    assert [f.get(timeout=10).offset for f in futures] == list(range(100, 200))


# -- offsets ---------------------------------------------------------------


def test_an_offset_is_found_by_time(kafka_, fresh):
    topic = kafka_.create(fresh())
    producer = kafka_.producer(linger_ms=50)
    base = int(time.time() * SECOND) - 100 * SECOND
    for n in range(10):
        producer.send(topic, b"%d" % n, timestamp_ms=base + n * SECOND)
        if n % 4 == 3:
            producer.flush()            # several batches of several records
    producer.flush()
    partition = TopicPartition(topic, 0)
    consumer = kafka_.consumer()

    def at(timestamp):
        found = consumer.offsets_for_times({partition: timestamp})[partition]
        return found and (found.offset, found.timestamp)

    assert at(base + 5 * SECOND) == (5, base + 5 * SECOND)
    assert at(base + 5 * SECOND - 1) == (5, base + 5 * SECOND)
    assert at(base + 5 * SECOND + 1) == (6, base + 6 * SECOND)
    assert at(0) == (0, base)
    assert at(base + 9 * SECOND + 1) is None


# -- groups ----------------------------------------------------------------


def test_closing_a_consumer_commits_what_it_read(kafka_, fresh):
    topic, group = kafka_.create(fresh()), fresh("g")
    kafka_.producer().send(topic, b"x").get(timeout=10)
    consumer = kafka_.consumer(topic, group_id=group, enable_auto_commit=True)
    kafka_.records(consumer, 1)
    consumer.close()
    again = kafka_.consumer(group_id=group)
    assert again.committed(TopicPartition(topic, 0)) == 1


def test_a_committed_offset_keeps_its_text(kafka_, fresh):
    topic, group = kafka_.create(fresh()), fresh("g")
    consumer = kafka_.consumer(group_id=group)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.commit({partition: committed(3, "by hand")})
    got = consumer.committed(partition, metadata=True)
    assert (got.offset, got.metadata) == (3, "by hand")


def test_a_group_that_never_committed_has_no_offset(kafka_, fresh):
    topic = kafka_.create(fresh())
    assert kafka_.consumer(group_id=fresh("g")).committed(TopicPartition(topic, 0)) is None


def test_groups_read_independently(kafka_, fresh):
    topic = kafka_.create(fresh())
    producer = kafka_.producer()
    for n in range(5):
        producer.send(topic, b"%d" % n)
    producer.flush()
    for group in (fresh("g1"), fresh("g2")):
        assert len(kafka_.records(kafka_.consumer(topic, group_id=group), 5)) == 5


def test_committed_offsets_survive_a_restart(kafka_, fresh):
    topic, group = kafka_.create(fresh()), fresh("g")
    producer = kafka_.producer()
    for n in range(10):
        producer.send(topic, b"%d" % n)
    producer.flush()
    consumer = kafka_.consumer(topic, group_id=group, enable_auto_commit=False)
    kafka_.records(consumer, 10)
    consumer.commit({TopicPartition(topic, 0): committed(6)})

    kafka_.restart()

    again = kafka_.consumer(topic, group_id=group, enable_auto_commit=False)
    assert [r.offset for r in kafka_.records(again, 4)] == list(range(6, 10))


class Member(threading.Thread):
    """A consumer of a group in its own thread, as in its own process."""

    def __init__(self, kafka_, topic, group, **more):
        super().__init__(daemon=True)
        self.consumer = kafka_.consumer(topic, group_id=group, session_timeout_ms=6000, heartbeat_interval_ms=500,
                                        metadata_max_age_ms=1000, **more)
        self.values = []
        self.assigned = set()
        self.leaving = threading.Event()
        self.start()

    def run(self):
        while not self.leaving.is_set():
            for some in self.consumer.poll(timeout_ms=1000).values():
                self.values.extend(r.value for r in some)
            self.assigned = {p.partition for p in self.consumer.assignment()}
        self.consumer.close()
        self.assigned = set()

    def leave(self):
        self.leaving.set()
        self.join(15)


MORTAL = """
import sys, kafka
consumer = kafka.KafkaConsumer(sys.argv[2], bootstrap_servers=sys.argv[1], group_id=sys.argv[3],
                               session_timeout_ms=6000, heartbeat_interval_ms=500)
told = False
while True:
    consumer.poll(timeout_ms=1000)
    if not told and len(consumer.assignment()) == 2:
        told = True
        print("assigned", flush=True)
"""


def test_a_member_that_dies_is_missed_after_its_session(kafka_, fresh):
    topic, group = kafka_.create(fresh(), partitions=2), fresh("g")
    mortal = subprocess.Popen([sys.executable, "-W", "ignore", "-c", MORTAL, kafka_.server.kafka, topic, group],
                              stdout=subprocess.PIPE, text=True)
    assert mortal.stdout.readline() == "assigned\n"
    mortal.kill()
    mortal.wait()
    mortal.stdout.close()
    began = time.monotonic()
    heir = Member(kafka_, topic, group)
    wait_until(lambda: heir.assigned == {0, 1}, "the heir has both", 30)
    assert time.monotonic() - began > 2         # not before the session of 6 s is nearly over
    heir.leave()


# -- administration --------------------------------------------------------

def described(kafka_, kind, name):
    everything = {"config_filter": "all"} if NEW else {}
    return repr(kafka_.admin().describe_configs([ConfigResource(kind, name, configs=None)], **everything))


def test_the_settings_of_a_topic_are_described(kafka_, fresh):
    text = described(kafka_, ConfigResourceType.TOPIC, kafka_.create(fresh()))
    for setting in ("retention.ms", "cleanup.policy", "compression.type", "max.message.bytes"):
        assert setting in text, setting


def test_an_unknown_setting_at_creation_is_refused(kafka_, fresh):
    with pytest.raises(errors.InvalidConfigurationError):
        kafka_.create(fresh(), **{"no.such.setting": "1"})


def test_a_setting_with_a_value_that_makes_no_sense_is_refused(kafka_, fresh):
    with pytest.raises(errors.InvalidConfigurationError):
        kafka_.create(fresh(), **{"max.message.bytes": "a lot"})


def test_the_settings_of_the_broker_are_described(kafka_):
    broker = kafka_.admin().describe_cluster()["brokers"][0]
    text = described(kafka_, ConfigResourceType.BROKER, str(broker.get("node_id", broker.get("broker_id"))))
    assert "auto.create.topics.enable" in text


def test_the_cluster_is_described(kafka_):
    answer = kafka_.admin().describe_cluster()
    assert answer["cluster_id"]
    assert len(answer["brokers"]) == 1
    assert answer["controller_id"] == answer["brokers"][0].get("node_id", answer["brokers"][0].get("broker_id"))


def test_the_broker_advertises_the_address_that_was_connected_to(kafka_):
    broker = kafka_.admin().describe_cluster()["brokers"][0]
    assert "%s:%d" % (broker["host"], broker["port"]) == kafka_.server.kafka
