# The commands that ask a running broker: hawser topics, queues, groups, stats, health.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import urllib.request

import boto3
import kafka
import pika
import pytest

from broker import Broker

CLIENT = "the shell"
CHAPTER = "The command"


@pytest.fixture(scope="module")
def broker():
    broker = Broker().start()
    yield broker
    broker.close()


def hawser(*words, server=None):
    more = ["--server", server] if server else []
    done = subprocess.run([Broker().binary] + list(words) + more, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def rows(text):
    """A table as a list of dictionaries."""
    head, *lines = text.splitlines()
    return [dict(zip(head.split(), line.split())) for line in lines]


def listed(broker, noun):
    status, text, error = hawser(noun, "list", server=broker.address("admin"))
    assert (status, error) == (0, "")
    return rows(text)


def described(broker, noun, name):
    status, text, error = hawser(noun, "describe", name, server=broker.address("admin"))
    assert (status, error) == (0, "")
    return text


def produce(broker, topic, partitions=1, count=3):
    admin = kafka.KafkaAdminClient(bootstrap_servers=broker.kafka)
    admin.create_topics([kafka.admin.NewTopic(topic, partitions, 1)])
    admin.close()
    producer = kafka.KafkaProducer(bootstrap_servers=broker.kafka, acks="all")
    for i in range(count):
        producer.send(topic, b"x" * 100, partition=i % partitions).get(10)
    producer.close()


def test_topics_are_listed_with_records_and_bytes(broker):
    produce(broker, "cli-listed", partitions=3, count=7)
    row = next(r for r in listed(broker, "topics") if r["name"] == "cli-listed")
    assert (row["made_by"], row["partitions"], row["queue"], row["durability"], row["records"]) == ("kafka", "3", "no", "fsync", "7")
    assert int(row["bytes"]) > 700


def test_a_topic_is_described_with_its_partitions(broker):
    produce(broker, "cli-described", partitions=2, count=3)
    top, _, table = described(broker, "topics", "cli-described").partition("\n\n")
    facts = dict(line.split(None, 1) for line in top.splitlines())
    assert (facts["name"], facts["records"], facts["cleanup"], facts["retention_ms"]) == ("cli-described", "3", "delete", "-")
    assert [(r["partition"], r["start"], r["end"]) for r in rows(table)] == [("0", "0", "2"), ("1", "0", "1")]


def test_queues_of_amqp_and_sqs_show_what_is_ready_leased_and_delayed(broker):
    sqs = boto3.client("sqs", endpoint_url="http://" + broker.sqs)
    url = sqs.create_queue(QueueName="cli-sqs", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    for delay in (0, 0, 0, 600):
        sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=delay)
    assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1
    host, port = broker.amqp.split(":")
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
    connection.channel().queue_declare("cli-amqp", durable=True, arguments={"x-message-ttl": 60000})
    found = {r["name"]: r for r in listed(broker, "queues")}
    assert [found["cli-sqs"][k] for k in ("made_by", "ready", "leased", "delayed")] == ["sqs", "2", "1", "1"]
    assert [found["cli-amqp"][k] for k in ("made_by", "ready", "leased", "delayed")] == ["amqp", "0", "0", "0"]
    assert "ttl_ms             60000\n" in described(broker, "queues", "cli-amqp")
    assert "lease_ms           60000\n" in described(broker, "queues", "cli-sqs")
    connection.close()


def test_a_group_is_described_with_its_lag(broker):
    produce(broker, "cli-read", count=5)
    consumer = kafka.KafkaConsumer("cli-read", bootstrap_servers=broker.kafka, group_id="cli-group",
                                   auto_offset_reset="earliest", enable_auto_commit=False)
    next(consumer), next(consumer)
    consumer.commit()
    assert {"group": "cli-group", "state": "Stable", "protocol_type": "consumer"}.items() <= listed(broker, "groups")[0].items()
    text = described(broker, "groups", "cli-group")
    offsets = rows(text.split("\n\n")[2])
    assert [(r["topic"], r["partition"], r["committed"], r["end"], r["lag"]) for r in offsets] == [("cli-read", "0", "2", "5", "3")]
    consumer.close()


def test_a_list_goes_on_over_pages_and_stops_at_the_limit(broker):
    for i in range(7):
        produce(broker, "cli-page-%d" % i, count=0)
    names = [r["name"] for r in listed(broker, "topics")]
    base = "http://%s/v1/topics?limit=2" % broker.address("admin")
    paged, more = [], ""
    while more is not None:
        page = json.load(urllib.request.urlopen(base + more))
        paged += [t["name"] for t in page["topics"]]
        more = "&from=" + page["next"] if "next" in page else None
    assert paged == names and len(set(names)) == len(names)
    assert len(rows(hawser("topics", "list", "--limit", "3", server=broker.address("admin"))[1])) == 3


def test_json_is_the_broker_s_own_answer(broker):
    produce(broker, "cli-json", count=1)
    status, text, _ = hawser("topics", "describe", "cli-json", "--json", server=broker.address("admin"))
    answer = json.loads(text)
    assert status == 0 and answer["records"] == 1 and answer["partitions"][0]["end"] == 1


def test_what_does_not_exist_is_told_with_exit_code_1(broker):
    for words in (("topics", "describe", "cli-none"), ("queues", "describe", "cli-none"), ("groups", "describe", "cli-none"),
                  ("topics", "list", "--vhost", "none")):
        status, text, error = hawser(*words, server=broker.address("admin"))
        assert (status, text) == (1, "") and "no" in error and error.count("\n") == 1


def test_no_broker_there_is_exit_code_1_and_says_where():
    status, text, error = hawser("topics", "list", server="127.0.0.1:1")
    assert (status, text) == (1, "") and "no broker answers at 127.0.0.1:1" in error


@pytest.mark.parametrize("words", [("topics",), ("topics", "list", "x"), ("queues", "describe"), ("topics", "list", "--limit", "0"),
                                   ("groups", "list", "--server", "ftp://x"), ("groups", "list", "--vhost", "/"), ("health", "x"),
                                   ("topics", "delete", "t", "--partitions", "2"), ("topics", "create", "t", "--remove", "x"),
                                   ("topics", "create", "t", "x"), ("topics", "list", "--partitions", "2"), ("nonsense",)])
def test_a_wrong_command_line_is_exit_code_2(words):
    status, text, error = hawser(*words)
    assert (status, text) == (2, "") and error


def test_stats_and_health(broker):
    status, text, error = hawser("stats", server=broker.address("admin"))
    figures = dict(line.rsplit(None, 1) for line in text.splitlines())
    assert (status, error) == (0, "") and int(figures["channels"]) > 0 and int(figures["commits_total"]) > 0
    assert hawser("health", server=broker.address("admin")) == (0, "ok\n", "")


def change(broker, *words):
    return hawser("topics", *words, server=broker.address("admin"))


def test_a_topic_is_created_altered_and_deleted(broker):
    assert change(broker, "create", "cli-made", "--partitions", "3", "retention.ms=3600000") == (0, "", "")
    admin = kafka.KafkaAdminClient(bootstrap_servers=broker.kafka)
    assert len(admin.describe_topics(["cli-made"])[0]["partitions"]) == 3
    assert "retention_ms       3600000\n" in described(broker, "topics", "cli-made")
    assert change(broker, "alter", "cli-made", "--remove", "retention.ms", "--partitions", "5", "hawser.durability=os") == (0, "", "")
    text = described(broker, "topics", "cli-made")
    assert "retention_ms       -\n" in text and "partition_count    5\n" in text and "durability         os\n" in text
    assert change(broker, "delete", "cli-made") == (0, "", "")
    assert "cli-made" not in admin.list_topics()
    admin.close()


@pytest.mark.parametrize("words,reason", [
    (("create", "cli-there"), "exists"),
    (("create", "no/slash"), "name"),
    (("create", "cli-new", "retention.msec=1"), "Unknown topic config name: retention.msec"),
    (("create", "cli-new", "retention.ms=soon"), "Invalid value soon for configuration retention.ms"),
    (("create", "cli-new", "retention.ms=1", "retention.ms=2"), "given twice"),
    (("alter", "cli-there", "--partitions", "1"), "there can only be more"),
    (("alter", "cli-there", "--remove", "nonsense"), "Unknown topic config name"),
    (("alter", "cli-none", "retention.ms=1"), "there is no topic or queue 'cli-none'"),
    (("delete", "cli-none"), "there is no topic or queue 'cli-none'"),
])
def test_a_change_that_makes_no_sense_is_refused_with_a_sentence(broker, words, reason):
    change(broker, "create", "cli-there")
    status, text, error = change(broker, *words)
    assert (status, text) == (1, "") and reason in error and error.count("\n") == 1
