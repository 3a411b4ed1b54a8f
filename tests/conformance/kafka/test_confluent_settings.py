# Settings of topics and brokers that change what the broker does with records.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import pytest

confluent_kafka = pytest.importorskip("confluent_kafka")
kafka = pytest.importorskip("kafka")
from confluent_kafka import KafkaException                                                  # noqa: E402
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource            # noqa: E402

from broker import wait_until                                                               # noqa: E402
from test_confluent import Confluent, code_of, rd                                           # noqa: E402,F401

CLIENT = "confluent-kafka " + confluent_kafka.__version__
CHAPTER = "Kafka"
BROKER, TOPIC = ConfigResource.Type.BROKER, ConfigResource.Type.TOPIC


def read_with_kafka_python(address, topic, count):
    consumer = kafka.KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([kafka.TopicPartition(topic, 0)])
    found = []
    wait_until(lambda: found.extend(r.value for records in consumer.poll(200).values() for r in records) or len(found) >= count,
               "kafka-python reads everything", 20)
    consumer.close()
    return found


@pytest.mark.parametrize("kept", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_what_the_broker_packs_again_is_read_by_every_client(rd, fresh, kept):          # noqa: F811
    topic = rd.create(fresh(), **{"compression.type": kept})
    values = []
    for sent in "none", "gzip", "snappy", "lz4", "zstd":
        more = [b"%s %d " % (sent.encode(), n) * 30 for n in range(50)]
        rd.send(topic, more, compression_type=sent, linger_ms=20)
        values += more
    assert [m.value() for m in rd.read(rd.assigned(topic), len(values))] == values
    assert read_with_kafka_python(rd.address, topic, len(values)) == values


def alter(rd, name, value, operation=AlterConfigOpType.SET):                             # noqa: F811
    entry = ConfigEntry(name, value, incremental_operation=operation)
    for future in rd.admin().incremental_alter_configs([ConfigResource(BROKER, "1", incremental_configs=[entry])]).values():
        future.result(20)


def described(rd, kind, resource, name):                                                 # noqa: F811
    for future in rd.admin().describe_configs([ConfigResource(kind, resource)]).values():
        return future.result(20)[name]


def test_the_brokers_default_of_a_topics_setting_is_altered_and_taken_back(rd, fresh):   # noqa: F811
    topic = rd.create(fresh(), **{"max.message.bytes": "500000"})
    try:
        alter(rd, "message.max.bytes", "400000")
        alter(rd, "log.roll.ms", "123456")
        wait_until(lambda: described(rd, TOPIC, topic, "segment.ms").value == "123456", "the topic follows the broker", 20)
        assert described(rd, TOPIC, topic, "max.message.bytes").value == "500000"
        assert not described(rd, BROKER, "1", "log.roll.ms").is_read_only
        small = rd.create(fresh("small"))
        with pytest.raises(KafkaException) as caught:
            rd.send(small, [b"x" * 450000], message_max_bytes=900000)
        assert code_of(caught) == 10                                                     # MSG_SIZE_TOO_LARGE
        rd.send(topic, [b"x" * 450000], message_max_bytes=900000)
    finally:
        for name in "message.max.bytes", "log.roll.ms":
            alter(rd, name, None, AlterConfigOpType.DELETE)
    wait_until(lambda: described(rd, TOPIC, topic, "segment.ms").value == "604800000", "the topic is as it was", 20)
    with pytest.raises(KafkaException) as caught:
        alter(rd, "num.partitions", "3")
    assert code_of(caught) == 42                                                         # INVALID_REQUEST
    with pytest.raises(KafkaException) as caught:
        alter(rd, "log.roll.ms", "soon")
    assert code_of(caught) == 42
