# The configuration file: what it says is done, and what makes no sense is refused.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess
import time

import boto3
import botocore.config
import botocore.exceptions
import pika
import pika.exceptions
import pytest

from broker import ROOT, Broker, BrokerFailed

CLIENT = "the shell"
CHAPTER = "The command"


@pytest.fixture
def configured():
    brokers = []

    def one(text):
        broker = Broker(config=text)
        brokers.append(broker)
        return broker.start()
    yield one
    for broker in brokers:
        broker.close()


def amqp(broker, user="guest", password="guest", **more):
    host, port = broker.amqp.split(":")
    return pika.BlockingConnection(pika.ConnectionParameters(
        host, int(port), credentials=pika.PlainCredentials(user, password), **more))


def sqs(broker):
    return boto3.client("sqs", endpoint_url="http://" + broker.sqs,
                        config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=20))


def test_the_configuration_of_the_article_starts(configured):
    with open(os.path.join(ROOT, "examples", "hawser.conf")) as f:
        broker = configured(f.read())
    amqp(broker).close()


def test_the_configured_user_replaces_guest(configured):
    broker = configured("default_user = ada\ndefault_pass = secret\n")
    amqp(broker, "ada", "secret").close()
    for user, password in (("guest", "guest"), ("ada", "guest"), ("ada", "")):
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            amqp(broker, user, password)


def test_configured_keys_are_required_of_SQS(configured):
    broker = configured("sqs.access_key = local\nsqs.secret_key = local\n")
    sqs(broker).create_queue(QueueName="allowed")
    stranger = boto3.client("sqs", endpoint_url="http://" + broker.sqs, aws_access_key_id="local",
                            aws_secret_access_key="wrong")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        stranger.create_queue(QueueName="refused")
    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_queues_of_the_configuration_exist_at_start(configured):
    broker = configured("sqs.queue.dead = {}\nsqs.queue.jobs.fifo = {\"FifoQueue\": \"true\"}\nsqs.queue.orders = {\"VisibilityTimeout\": 60, "
                        "\"RedrivePolicy\": {\"deadLetterTargetArn\": \"arn:aws:sqs:us-east-1:000000000000:dead\", \"maxReceiveCount\": 3}}\n")
    client = sqs(broker)
    assert [url.rsplit("/")[-1] for url in client.list_queues()["QueueUrls"]] == ["dead", "jobs.fifo", "orders"]
    assert client.get_queue_attributes(QueueUrl="orders", AttributeNames=["VisibilityTimeout"])["Attributes"] == {"VisibilityTimeout": "60"}
    broker.stop()
    broker.config = "sqs.queue.orders = {\"VisibilityTimeout\": 61}\n"
    broker.start()
    assert sqs(broker).get_queue_attributes(QueueUrl="orders", AttributeNames=["VisibilityTimeout"])["Attributes"] == {"VisibilityTimeout": "61"}
    broker.stop()
    broker.config = "sqs.queue.orders = {\"Colour\": \"blue\"}\n"
    with pytest.raises(BrokerFailed) as failed:
        broker.start()
    assert "sqs.queue.orders: Unknown Attribute Colour." in str(failed.value)


def test_a_policy_lets_another_account_in(configured):
    broker = configured("sqs.access_key = AK\nsqs.secret_key = ours\nsqs.caller.ann = ANN theirs 111122223333\n")
    owner, ann = (boto3.client("sqs", endpoint_url="http://" + broker.sqs, aws_access_key_id=key, aws_secret_access_key=secret)
                  for key, secret in (("AK", "ours"), ("ANN", "theirs")))
    url = owner.create_queue(QueueName="q")["QueueUrl"]

    def refused(call, **what):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call(QueueUrl=url, **what)
        return caught.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")

    assert refused(ann.send_message, MessageBody="x")
    owner.add_permission(QueueUrl=url, Label="l", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    ann.send_message(QueueUrl=url, MessageBody="x")
    assert refused(ann.receive_message) and refused(ann.delete_queue)
    assert owner.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "x"
    owner.remove_permission(QueueUrl=url, Label="l")
    assert refused(ann.send_message, MessageBody="x")


@pytest.mark.parametrize("setting", ["disk_free_limit = 1000000GB", "memory_high_watermark.absolute = 1MB"],
                         ids=["disk_free_limit", "memory_high_watermark"])
def test_a_publisher_is_blocked_when_a_limit_is_reached(configured, setting):
    broker = configured(setting + "\n")
    connection = amqp(broker, blocked_connection_timeout=30)
    blocked = []
    connection.add_on_connection_blocked_callback(lambda *what: blocked.append(what))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    end = time.monotonic() + 15
    while not blocked and time.monotonic() < end:
        channel.basic_publish("", queue, b"x")
        connection.process_data_events(time_limit=0.1)
    assert blocked, "the publisher was never told"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client = sqs(broker)
        url = client.create_queue(QueueName="q")["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody="x")
    assert caught.value.response["Error"]["Code"] in ("OverLimit", "RequestThrottled", "ServiceUnavailable")


@pytest.mark.parametrize("line", ["colour = blue", "shards = many", "memory_high_watermark = 2", "disk_free_limit = plenty",
                                  "no equals sign", "shards = 1\nshards = 2"],
                         ids=["name", "number", "fraction", "size", "syntax", "twice"])
def test_a_line_that_makes_no_sense_is_named(line):
    broker = Broker(config="# a comment\n" + line + "\n")
    with pytest.raises(BrokerFailed) as failed:
        broker.start()
    broker.close()
    number = 1 + len(line.split("\n"))
    assert "hawser.conf:%d: " % number in str(failed.value)


@pytest.mark.parametrize("name", ["vm_memory_high_watermark = 0.4", "vm_memory_high_watermark.relative = 0.4",
                                  "vm_memory_high_watermark.absolute = 1GB", "disk_free_limit.absolute = 50MB"],
                         ids=lambda line: line.split()[0])
def test_RabbitMQs_names_are_known(configured, name):
    amqp(configured(name + "\n")).close()


def said(*words):
    return subprocess.run([Broker().binary] + list(words), capture_output=True, text=True, timeout=10, check=True).stdout


def manual():
    with open(os.path.join(ROOT, "docs", "manual", "config.md"), encoding="utf-8") as f:
        return f.read()


def test_the_manual_lists_the_settings_of_the_program_with_their_defaults():
    program = [(name, None if default == "-" else default) for name, default, _ in
               (line.split(None, 2) for line in said("settings").splitlines())]
    # A row: | `name` | `default` | meaning |; what is not in backticks is a default in words, for the program none.
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \|", manual(), re.M)
    assert [(name, default.strip("`") if default[0] == "`" else None) for name, default in rows] == program


def test_other_names_of_settings_in_the_manual_are_known(tmp_path):
    names = [n for also in re.findall(r"Also (.*?)(?:\||, RabbitMQ|$)", manual(), re.M) for n in re.findall(r"`([\w.]+)`", also)]
    assert len(names) == 12
    for name in names:
        # Refused for the value (a file's name alone is no mistake: it lacks the other), not for the name.
        ended = subprocess.run([Broker().binary, "serve", "--data", str(tmp_path / "d"), "--set", name + "=nonsense"],
                               capture_output=True, text=True, timeout=10)
        assert (ended.returncode == 2 and "nonsense" in ended.stderr) or "tls." in ended.stderr, name


def test_help_and_manual_say_the_same_of_the_command_line():
    usage = re.search(r"(?s)usage: (hawser serve.*?\.\.\.)\n", said("serve", "--help")).group(1)
    written = re.search(r"(?s)```\n(hawser serve.*?\.\.\.)\n```", manual()).group(1)
    assert written.split() == usage.split()
