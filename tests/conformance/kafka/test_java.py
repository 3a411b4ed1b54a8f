# Kafka through Apache's own Java client, where a JDK and its jars are at hand:
# tests/conformance/peers/kafka.sh fetches them into build/peers.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import re
import shutil
import subprocess

import pytest

from broker import ROOT

CHAPTER = "Kafka"
CLASSPATH = os.path.join(ROOT, "build", "peers", "kafka", "classpath")
HERE = os.path.dirname(os.path.abspath(__file__))
pytestmark = [
    pytest.mark.skipif(not (shutil.which("javac") and os.path.exists(CLASSPATH)), reason="no JDK or no Kafka jars"),
    pytest.mark.timeout(120),
]


def jars():
    if not os.path.exists(CLASSPATH):
        return ""
    with open(CLASSPATH) as f:
        return f.read().strip()


VERSION = re.search(r"kafka-clients-([0-9.]+)\.jar", jars())
CLIENT = "Java %s" % (VERSION.group(1) if VERSION else "client")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    out = tmp_path_factory.mktemp("java")
    subprocess.run(["javac", "-cp", jars(), "-d", str(out), os.path.join(HERE, "JavaClient.java")], check=True, timeout=60)
    return str(out)


@pytest.fixture
def java(server, compiled):
    def run(*arguments):
        ended = subprocess.run(["java", "-cp", compiled + ":" + jars(), "-Dlog4j2.level=ERROR", "JavaClient", server.kafka] +
                               [str(a) for a in arguments], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout[-500:] + ended.stderr[-2000:]
        return ended.stdout.split("\n")[:-1]
    return run


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_compression_come_back(java, fresh, codec):
    topic = fresh()
    assert java("produce", topic, 100, codec) == [str(n) for n in range(100)]
    assert java("consume", topic, fresh("g"), 100) == ["k%d=v%d" % (n, n) for n in range(100)]


def test_a_group_resumes_where_it_committed(java, fresh):
    topic, group = fresh(), fresh("g")
    java("produce", topic, 10, "none")
    assert java("consume", topic, group, 4) == ["k%d=v%d" % (n, n) for n in range(4)]
    assert java("consume", topic, group, 6) == ["k%d=v%d" % (n, n) for n in range(4, 10)]


def test_topics_are_created_described_and_deleted(java, fresh):
    assert java("admin", fresh()) == ["partitions 3", "setting 345678", "nodes 1 controller true", "sizes 3",
                                     "election ElectionNotNeededException", "listed true"]


def test_settings_are_altered_one_by_one(java, fresh, peer):
    # The default that DELETE goes back to is the one intended difference: ours is for ever.
    forever = "604800000" if peer == "kafka" else "-1"
    assert java("settings", fresh()) == [
        "retention.ms=%s DEFAULT_CONFIG" % forever,
        "retention.ms=60000 DYNAMIC_TOPIC_CONFIG",
        "InvalidConfigurationException: Invalid value -2 for configuration retention.ms: Value must be at least -1",
        "retention.ms=60000 DYNAMIC_TOPIC_CONFIG",
        "InvalidConfigurationException: Can't APPEND to key retention.ms because its type is not LIST.",
        "retention.ms=60000 DYNAMIC_TOPIC_CONFIG",
        "retention.ms=%s DEFAULT_CONFIG" % forever,
        "cleanup.policy=delete,compact DYNAMIC_TOPIC_CONFIG",
        "cleanup.policy=compact DYNAMIC_TOPIC_CONFIG",
        "cleanup.policy=delete DEFAULT_CONFIG",
        "segment.ms=5000 DYNAMIC_TOPIC_CONFIG",
        "InvalidRequestException: Cannot update these configs dynamically: Set(num.partitions)",
        "num.partitions=1 STATIC_BROKER_CONFIG",
    ]


def test_offsets_of_a_group_are_deleted(java, fresh):
    topic, group = fresh(), fresh("g")
    java("produce", topic, 10, "none")
    java("consume", topic, group, 4)
    assert java("offsets", topic, group) == [
        "nowhere-0 UnknownTopicOrPartitionException", topic + "-0 deleted",
        "nowhere-0 GroupIdNotFoundException", topic + "-0 GroupIdNotFoundException",
        "0 left",
    ]


def test_a_compacted_topic_keeps_the_newest_record_of_each_key(java, fresh, peer):
    if peer == "kafka":
        pytest.skip("Kafka leaves the last segment alone until something more is written")
    topic = fresh()
    *records, refused = java("table", topic, 20, 1000)
    assert records == ["%d k%d=v%d" % (n, n % 20, n) for n in range(19980, 20000)]
    assert refused == ("InvalidRecordException: Compacted topic cannot accept message without key in topic partition " + topic + "-0")
