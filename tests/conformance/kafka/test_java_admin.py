# Apache's own Java client, where it says more than the drivers do (test_kafka_clients.py): its Admin.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os

import pytest

import apache

CLIENT = "Java " + apache.version()
CHAPTER = "Kafka"
pytestmark = [pytest.mark.skipif(not os.path.exists(apache.CLASSPATH), reason="no Kafka jars"), pytest.mark.timeout(120),
              pytest.mark.xdist_group("tools")]


@pytest.fixture
def admin(server, java):
    """admin("settings", topic): what JavaAdmin says."""
    return lambda *arguments: java.run("JavaAdmin", server.kafka, *arguments).splitlines()


def read_once(java, server, topic, group):
    """A record in the topic, and a group that has committed it."""
    here = ("--bootstrap-server", server.kafka, "--topic", topic)
    java.run("org.apache.kafka.tools.ConsoleProducer", *here, given="x\n")
    java.run("org.apache.kafka.tools.consumer.ConsoleConsumer", *here, "--group", group, "--from-beginning",
                 "--max-messages", 1, "--timeout-ms", 20000)


def test_topics_are_created_described_and_deleted(admin, fresh):
    assert admin("admin", fresh()) == ["partitions 3", "setting 345678", "nodes 1 controller true", "sizes 3",
                                     "election ElectionNotNeededException", "listed true"]


def test_settings_are_altered_one_by_one(admin, fresh, peer):
    # The default that DELETE goes back to is the one intended difference: ours is for ever.
    forever = "604800000" if peer == "kafka" else "-1"
    assert admin("settings", fresh()) == [
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
        "num.partitions=1 " + ("STATIC_BROKER_CONFIG" if peer == "kafka" else "DEFAULT_CONFIG"),     # its file says it
    ]


def test_offsets_of_a_group_are_deleted(admin, java, server, fresh):
    topic, group = fresh(), fresh("g")
    read_once(java, server, topic, group)
    assert admin("offsets", topic, group) == [
        "nowhere-0 UnknownTopicOrPartitionException", topic + "-0 deleted",
        "nowhere-0 GroupIdNotFoundException", topic + "-0 GroupIdNotFoundException",
        "0 left",
    ]


NOT_OFFERED = "UnsupportedVersionException"


def test_what_kafbat_ui_and_akhq_ask_is_answered_or_not_offered(admin, java, server, fresh):
    topic, group = fresh(), fresh("g")
    read_once(java, server, topic, group)
    assert admin("ui", topic, group) == [
        "listTopics: true", "describeTopics: 1", "createTopics: TopicExistsException", "createPartitions: null",
        "describeConfigs: 2", "incrementalAlterConfigs: null", "listOffsets EarliestSpec: 0", "listOffsets LatestSpec: 1",
        "listOffsets MaxTimestampSpec: 0", "listOffsets TimestampSpec: 0", "describeProducers: 1", "deleteRecords: 1",
        "listGroups: true", "describeConsumerGroups: Empty", "listConsumerGroupOffsets: 1", "alterConsumerGroupOffsets: null",
        "deleteConsumerGroupOffsets: null", "alterConsumerGroupOffsets: null", "deleteConsumerGroups: null",
        "describeCluster: 1", "describeFeatures: true", "describeLogDirs: 1", "listTransactions: true",
        "electLeaders: ElectionNotNeededException", "alterReplicaLogDirs: " + NOT_OFFERED,
        "alterPartitionReassignments: " + NOT_OFFERED, "listPartitionReassignments: " + NOT_OFFERED,
        "describeMetadataQuorum: " + NOT_OFFERED, "describeAcls: " + NOT_OFFERED, "createAcls: " + NOT_OFFERED,
        "deleteAcls: " + NOT_OFFERED, "describeClientQuotas: " + NOT_OFFERED, "alterClientQuotas: " + NOT_OFFERED,
        "describeUserScramCredentials: " + NOT_OFFERED, "deleteTopics: null",
    ]
