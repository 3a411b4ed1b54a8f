# Apache Kafka's own tools, as its distribution starts them: what administrators type, and what Kafka's system tests use.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import re

import pytest

import apache
from broker import wait_until

CLIENT = "Apache's tools " + apache.version()
CHAPTER = "Kafka, Apache's tools"
TOOLS = "org.apache.kafka.tools."
pytestmark = [pytest.mark.skipif(not os.path.exists(apache.CLASSPATH), reason="no Kafka jars"), pytest.mark.timeout(180),
              pytest.mark.xdist_group("tools")]


@pytest.fixture
def tool(java, server):
    """tool("TopicCommand", "--list"): what it says."""
    def run(name, *arguments, **how):
        main = name if name.startswith("kafka.") else TOOLS + name
        return java.run(main, "--bootstrap-server", server.kafka, *arguments, **how)
    return run


def events(said, name):
    """The lines of that name, of a tool that tells what it does in JSON."""
    return [e for e in map(json.loads, said.splitlines()) if e.get("name") == name]


def test_kafka_topics(tool, fresh):
    topic = fresh()
    assert tool("TopicCommand", "--create", "--topic", topic, "--partitions", 3, "--config", "retention.ms=60000") \
        == "Created topic %s.\n" % topic
    tool("TopicCommand", "--alter", "--topic", topic, "--partitions", 4)
    said = tool("TopicCommand", "--describe", "--topic", topic)
    assert re.search(r"PartitionCount: 4\s+ReplicationFactor: 1\s+Configs: .*retention.ms=60000", said)
    assert len(re.findall(r"Partition: [0-3]\s+Leader: 1\s+Replicas: 1\s+Isr: 1", said)) == 4
    assert "already exists" in tool("TopicCommand", "--create", "--topic", topic, fails=True)
    tool("TopicCommand", "--delete", "--topic", topic)
    wait_until(lambda: topic not in tool("TopicCommand", "--list").split(), "the topic is gone")


def test_kafka_configs(tool, fresh):
    topic = fresh()
    tool("TopicCommand", "--create", "--topic", topic)
    about = ("--entity-type", "topics", "--entity-name", topic)
    tool("kafka.admin.ConfigCommand", "--alter", *about, "--add-config", "max.message.bytes=2000000,retention.ms=5000")
    tool("kafka.admin.ConfigCommand", "--alter", *about, "--delete-config", "retention.ms")
    said = tool("kafka.admin.ConfigCommand", "--describe", *about)
    assert "max.message.bytes=2000000" in said and "retention.ms" not in said
    said = tool("kafka.admin.ConfigCommand", "--describe", "--entity-type", "brokers", "--entity-name", 1, "--all")
    assert "num.partitions=1 " in said


def test_kafka_console_producer_and_consumer_and_consumer_groups(tool, fresh):
    topic, group = fresh(), fresh("g")
    tool("TopicCommand", "--create", "--topic", topic, "--partitions", 2)
    tool("ConsoleProducer", "--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:",
         "--compression-codec", "zstd", given="a:1\nb:2\nc:3\n")
    said = tool("consumer.ConsoleConsumer", "--topic", topic, "--group", group, "--from-beginning", "--max-messages", 3,
                "--timeout-ms", 20000, "--formatter-property", "print.key=true")
    assert sorted(said.splitlines()[:3]) == ["a\t1", "b\t2", "c\t3"]
    assert sum(int(line.split(":")[2]) for line in tool("GetOffsetShell", "--topic", topic).split()) == 3
    groups = "consumer.group.ConsumerGroupCommand"
    rows = [line.split() for line in tool(groups, "--describe", "--group", group).splitlines() if line.startswith(group)]
    assert sorted(int(row[2]) for row in rows) == [0, 1] and sum(int(row[3]) for row in rows) == 3
    assert all(row[5] == "0" for row in rows)                       # the lag
    said = tool(groups, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
    assert len(re.findall(r"^%s\s+%s\s+[01]\s+0\s*$" % (group, topic), said, re.M)) == 2
    assert group in tool("GroupsCommand", "--list")
    assert "successful" in tool(groups, "--delete", "--group", group)


def test_kafka_producer_perf_test_and_consumer_perf_test(java, tool, server, fresh):
    topic = fresh()
    said = java.run(TOOLS + "ProducerPerformance", "--topic", topic, "--num-records", 20000, "--record-size", 200,
                    "--throughput", -1, "--producer-props", "bootstrap.servers=" + server.kafka)
    assert said.splitlines()[-1].startswith("20000 records sent, ")
    said = tool("ConsumerPerformance", "--topic", topic, "--messages", 20000, "--timeout", 20000)
    assert said.splitlines()[-1].split(", ")[4] == "20000"


def test_kafka_transactions_verifiable_clients_and_the_transactional_copier(java, tool, server, fresh):
    source, target, id = fresh("from"), fresh("to"), fresh("copier")
    said = tool("VerifiableProducer", "--topic", source, "--max-messages", 50)
    assert [e["offset"] for e in events(said, "producer_send_success")] == list(range(50))
    said = tool("VerifiableConsumer", "--topic", source, "--group-id", fresh("g"), "--max-messages", 50, "--reset-policy", "earliest")
    assert sum(e["count"] for e in events(said, "records_consumed")) == 50
    assert events(said, "offsets_committed")[-1]["offsets"] == [{"topic": source, "partition": 0, "offset": 50}]
    said = java.run(TOOLS + "TransactionalMessageCopier", "--broker-list", server.kafka, "--input-topic", source,
                    "--input-partition", 0, "--output-topic", target, "--max-messages", 50, "--consumer-group", fresh("copy"),
                    "--transactional-id", id, "--transaction-size", 10, "--enable-random-aborts")
    ended = json.loads(said.splitlines()[-1])
    assert (ended["stage"], ended["consumed"], ended["remaining"]) == ("ShutdownComplete", 50, 0)
    assert re.search(r"^%s\s+1\s+\d+\s+Complete(Commit|Abort)" % id, tool("TransactionsCommand", "list"), re.M)
    assert re.search(r"^1\s+%s\s+\d+\s+\d+\s+Complete(Commit|Abort)" % id, tool("TransactionsCommand", "describe", "--transactional-id", id), re.M)
    said = tool("TransactionsCommand", "describe-producers", "--topic", target, "--partition", 0)
    assert len(said.splitlines()) == 2 and said.splitlines()[1].split()[-1] == "None"       # no transaction is open


def test_kafka_client_compatibility_test(tool, fresh):
    said = tool("ClientCompatibilityTest", "--topic", fresh(), "--offsets-for-times-supported", "true",
                "--cluster-id-supported", "true", "--expect-record-too-large-exception", "false", "--num-cluster-nodes", 1,
                "--create-topics-supported", "true", "--describe-acls-supported", "false", "--describe-configs-supported", "true",
                "--idempotent-producer-supported", "true")
    assert said.splitlines()[-1] == "SUCCESS."


def test_kafka_log_dirs_cluster_delete_records_and_broker_api_versions(java, tool, server, fresh, tmp_path):
    topic = fresh()
    tool("ConsoleProducer", "--topic", topic, given="1\n2\n3\n")
    said = json.loads(tool("LogDirsCommand", "--describe", "--topic-list", topic).splitlines()[-1])
    assert [p["partition"] for d in said["brokers"][0]["logDirs"] for p in d["partitions"]] == [topic + "-0"]
    assert java.run(TOOLS + "ClusterTool", "cluster-id", "--bootstrap-server", server.kafka).startswith("Cluster ID: ")
    wanted = tmp_path / "records.json"
    wanted.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 2}]}))
    assert "low_watermark: 2" in tool("DeleteRecordsCommand", "--offset-json-file", wanted)
    said = tool("BrokerApiVersionsCommand")
    assert re.search(r"Produce\(0\): 0 to 13 \[usable: 13\]", said) and "(id: 1 rack: null" in said
