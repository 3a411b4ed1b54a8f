# SQS through every client library: each scenario is told once, and a driver of each library says it in its own words
# (drivers/README.md).
#
#   HAWSER_TEST_CLIENTS     names of some clients (COMMANDS below), with spaces between: only those
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import base64
import json
import os
import threading
import time

import pytest

from broker import ROOT, wait_until
from pipe import Driver, Refused

CHAPTER = "SQS, every client"
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers")
BUILT = os.path.join(ROOT, "build", "drivers")
NODE = ["node", os.path.join(HERE, "node", "driver.js")]

# The folder is where a driver is started.
COMMANDS = {
    "boto3-debian": (["/usr/bin/python3", os.path.join(HERE, "boto.py")], None),
    "boto3": ([os.path.join(ROOT, "build", "venv", "bin", "python"), os.path.join(HERE, "boto.py")], None),
    "javascript-3": (NODE + ["v3"], os.path.join(BUILT, "sqs-node")),
    "javascript-2": (NODE + ["v2"], os.path.join(BUILT, "sqs-node")),
    "aws-cli": (["/usr/bin/python3", os.path.join(HERE, "command_line.py")], None),
    "go": ([os.path.join(BUILT, "sqs-go")], None),
    "java": (["java", "-XX:TieredStopAtLevel=1", "@" + os.path.join(BUILT, "sqs-java", "arguments"), "Driver"], None),
}


@pytest.fixture(scope="session")
def drivers():
    started = {}
    yield started
    for driver in started.values():
        driver.close()


class Client:
    """client.SendMessage(QueueUrl=..., MessageBody=...) -> the answer; and what scenarios say often."""

    def __init__(self, driver):
        self.driver = driver
        self.queues = []

    def __getattr__(self, action):
        return lambda **members: self.driver.do("call", action=action, input=members)

    def queue(self, name, **attributes):
        url = self.CreateQueue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.queues.append(url)
        return url

    def receive(self, url, **more):
        return self.ReceiveMessage(**{"QueueUrl": url, "MaxNumberOfMessages": 10, **more}).get("Messages") or []

    def attribute(self, url, name):
        return (self.GetQueueAttributes(QueueUrl=url, AttributeNames=[name]).get("Attributes") or {}).get(name)

    def close(self):
        for url in self.queues:
            try:
                self.DeleteQueue(QueueUrl=url)
            except Refused:
                pass


def start(name, server):
    command, folder = COMMANDS[name]
    return Driver(command, server.sqs, cwd=folder)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name))
                        for name in os.environ.get("HAWSER_TEST_CLIENTS", "").split() or COMMANDS])
def client(request, server, drivers):
    """One that a scenario has hung is started again."""
    if request.param not in drivers or not drivers[request.param].alive():
        drivers[request.param] = start(request.param, server)
    request.node.client = drivers[request.param].name
    it = Client(drivers[request.param])
    yield it
    it.close()


def refused(code, call, words="", **members):
    """The call fails with this code, that of Query or the shape's name: libraries choose."""
    with pytest.raises(Refused) as caught:
        call(**members)
    assert caught.value.code in (code if isinstance(code, tuple) else (code,)), (caught.value.code, str(caught.value))
    assert words in str(caught.value)
    return caught.value


# -- messages -----------------------------------------------------------------

ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "ünïcödé ✓"},
    "number": {"DataType": "Number.int", "StringValue": "-7"},
    "bytes": {"DataType": "Binary.png", "BinaryValue": base64.b64encode(bytes(range(256))).decode()},
}


def test_a_message_with_attributes_comes_back_as_it_was_sent(client, fresh):
    """Java and JavaScript compare the digests themselves, and raise."""
    url = client.queue(fresh())
    text = "tab\t lf\n cr\r quote\" amp& lt< gt> ünï ✓ 𝄞"
    sent = client.SendMessage(QueueUrl=url, MessageBody=text, MessageAttributes=ATTRIBUTES, MessageSystemAttributes={
        "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}})
    assert sent["MD5OfMessageBody"] and sent["MD5OfMessageAttributes"] and sent["MD5OfMessageSystemAttributes"]
    got, = client.receive(url, MessageAttributeNames=["All"], AttributeNames=["All"])
    assert (got["Body"], got["MessageId"], got["MD5OfMessageAttributes"]) == (text, sent["MessageId"], sent["MD5OfMessageAttributes"])
    assert {name: {k: v for k, v in a.items() if v} for name, a in got["MessageAttributes"].items()} == ATTRIBUTES
    assert got["Attributes"]["ApproximateReceiveCount"] == "1"
    assert got["Attributes"]["AWSTraceHeader"].startswith("Root=1-5759e988")
    client.DeleteMessage(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    assert client.receive(url) == []


def test_a_batch_says_what_became_of_each_entry(client, fresh):
    url = client.queue(fresh())
    said = client.SendMessageBatch(QueueUrl=url, Entries=[
        {"Id": "a", "MessageBody": "one", "MessageAttributes": ATTRIBUTES}, {"Id": "b", "MessageBody": "bad \ufffe"},
        {"Id": "c", "MessageBody": "three"}])
    assert [e["Id"] for e in said["Successful"]] == ["a", "c"]
    failed, = said["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("b", "InvalidMessageContents", True)
    got = client.receive(url, VisibilityTimeout=30)
    assert sorted(m["Body"] for m in got) == ["one", "three"]
    changed = client.ChangeMessageVisibilityBatch(QueueUrl=url, Entries=[
        {"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0} for m in got])
    assert sorted(e["Id"] for e in changed["Successful"]) == ["one", "three"]
    again = client.receive(url)
    deleted = client.DeleteMessageBatch(QueueUrl=url, Entries=[
        {"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in again] + [{"Id": "x", "ReceiptHandle": "nonsense"}])
    assert sorted(e["Id"] for e in deleted["Successful"]) == ["one", "three"]
    assert [(e["Id"], e["Code"]) for e in deleted["Failed"]] == [("x", "ReceiptHandleIsInvalid")]


def test_a_fifo_queue_keeps_order_and_drops_repeats(client, fresh):
    url = client.queue(fresh() + ".fifo", FifoQueue="true")
    sent = [client.SendMessage(QueueUrl=url, MessageBody=body, MessageGroupId=body[:2], MessageDeduplicationId=body)
            for body in ("g1-a", "g2-a", "g1-b", "g1-a")]
    assert sent[0]["MessageId"] == sent[3]["MessageId"] and sent[0]["SequenceNumber"] == sent[3]["SequenceNumber"]
    assert int(sent[0]["SequenceNumber"]) < int(sent[2]["SequenceNumber"])
    got = client.receive(url, AttributeNames=["All"])
    assert [m["Body"] for m in got] == ["g1-a", "g1-b", "g2-a"]
    assert (got[0]["Attributes"]["MessageGroupId"], got[0]["Attributes"]["MessageDeduplicationId"]) == ("g1", "g1-a")
    client.SendMessage(QueueUrl=url, MessageBody="g1-c", MessageGroupId="g1", MessageDeduplicationId="g1-c")
    assert client.receive(url) == []
    client.DeleteMessageBatch(QueueUrl=url, Entries=[{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in got[:2]])
    assert [m["Body"] for m in client.receive(url)] == ["g1-c"]


def test_a_message_of_1_MiB_fits_and_one_byte_more_does_not(client, fresh):
    url = client.queue(fresh())
    body = "x" * (1 << 20)
    client.SendMessage(QueueUrl=url, MessageBody=body)
    assert client.receive(url)[0]["Body"] == body
    refused(("InvalidParameterValue", "InvalidParameterValueException"), client.SendMessage, "Message must be shorter than 1048576 bytes",
            QueueUrl=url, MessageBody=body + "x")


def test_a_waiting_receive_is_woken_by_a_send(client, server, fresh):
    url = client.queue(fresh())
    sender = start("boto3-debian", server)

    def send():
        # The receive is in flight when nothing has come back for a while; it need not be for the test to hold.
        time.sleep(0.3)
        sender.do("call", action="SendMessage", input={"QueueUrl": url, "MessageBody": "wake up"})
    thread = threading.Thread(target=send)
    thread.start()
    began = time.monotonic()
    got = client.receive(url, WaitTimeSeconds=20)
    took = time.monotonic() - began
    thread.join()
    sender.close()
    assert [m["Body"] for m in got] == ["wake up"] and took < 15


def test_a_delayed_message_comes_later(client, fresh):
    url = client.queue(fresh())
    began = time.monotonic()
    client.SendMessage(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    assert client.attribute(url, "ApproximateNumberOfMessagesDelayed") in ("1", "0")
    got = client.receive(url, WaitTimeSeconds=10)
    assert [m["Body"] for m in got] == ["later"] and time.monotonic() - began >= 0.9


# -- queues -------------------------------------------------------------------

def test_attributes_and_tags_of_a_queue(client, fresh):
    name = fresh()
    url = client.queue(name, VisibilityTimeout="40")
    assert client.GetQueueUrl(QueueName=name)["QueueUrl"] == url
    client.SetQueueAttributes(QueueUrl=url, Attributes={"DelaySeconds": "5"})
    attributes = client.GetQueueAttributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (attributes["VisibilityTimeout"], attributes["DelaySeconds"]) == ("40", "5")
    assert attributes["QueueArn"].endswith(":" + name)
    client.TagQueue(QueueUrl=url, Tags={"team": "a", "cost": "b"})
    client.UntagQueue(QueueUrl=url, TagKeys=["cost"])
    assert client.ListQueueTags(QueueUrl=url)["Tags"] == {"team": "a"}
    client.PurgeQueue(QueueUrl=url)
    client.DeleteQueue(QueueUrl=url)
    refused(("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"), client.GetQueueUrl, QueueName=name)


def test_queues_are_listed_page_by_page(client, fresh):
    prefix = fresh("page")
    urls = {client.queue("%s-%d" % (prefix, n)) for n in range(3)}
    found, token = [], None
    while True:
        page = client.ListQueues(QueueNamePrefix=prefix, MaxResults=2, **({"NextToken": token} if token else {}))
        found += page["QueueUrls"]
        token = page.get("NextToken")
        if not token:
            break
    assert len(found) == 3 and set(found) == urls


def test_dead_letters_are_moved_back(client, fresh):
    dead = client.queue(fresh("dead"))
    url = client.queue(fresh(), VisibilityTimeout="0", RedrivePolicy=json.dumps(
        {"deadLetterTargetArn": client.attribute(dead, "QueueArn"), "maxReceiveCount": 1}))
    client.SendMessage(QueueUrl=url, MessageBody="twice")
    assert client.receive(url)[0]["Body"] == "twice"
    wait_until(lambda: client.receive(url) == [] and client.attribute(dead, "ApproximateNumberOfMessages") == "1", "the message dies")
    sources = client.ListDeadLetterSourceQueues(QueueUrl=dead)
    assert (sources.get("queueUrls") or sources["QueueUrls"]) == [url]          # Go has a name of its own for it
    arn = client.attribute(dead, "QueueArn")
    assert client.StartMessageMoveTask(SourceArn=arn)["TaskHandle"]
    wait_until(lambda: client.ListMessageMoveTasks(SourceArn=arn)["Results"][0]["Status"] == "COMPLETED", "the task ends")
    assert int(client.ListMessageMoveTasks(SourceArn=arn)["Results"][0]["ApproximateNumberOfMessagesMoved"]) == 1
    wait_until(lambda: [m["Body"] for m in client.receive(url)] == ["twice"], "it is back")


def test_permissions_are_statements_of_the_policy(client, fresh):
    url = client.queue(fresh())
    client.AddPermission(QueueUrl=url, Label="one", AWSAccountIds=["111122223333"], Actions=["ReceiveMessage"])
    statement, = json.loads(client.attribute(url, "Policy"))["Statement"]
    assert (statement["Sid"], statement["Action"]) == ("one", "SQS:ReceiveMessage")
    client.RemovePermission(QueueUrl=url, Label="one")
    assert not client.attribute(url, "Policy")


# -- errors -------------------------------------------------------------------

def test_errors_have_aws_s_names(client, fresh):
    url = client.queue(fresh())
    invalid = ("InvalidParameterValue", "InvalidParameterValueException")
    refused(("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"), client.SendMessage, QueueUrl=url + "-none", MessageBody="x")
    assert refused("ReceiptHandleIsInvalid", client.DeleteMessage, "is not a valid receipt handle", QueueUrl=url,
                   ReceiptHandle="nonsense").status == 404
    refused(invalid, client.ReceiveMessage, "Must be between 1 and 10", QueueUrl=url, MaxNumberOfMessages=11)
    refused("InvalidAttributeValue", client.SetQueueAttributes, QueueUrl=url, Attributes={"VisibilityTimeout": "43201"})
    refused(("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct"), client.SendMessageBatch, QueueUrl=url,
            Entries=[{"Id": "a", "MessageBody": "1"}, {"Id": "a", "MessageBody": "2"}])
    refused(("QueueAlreadyExists", "QueueNameExists"), client.CreateQueue, QueueName=url.rsplit("/")[-1],
            Attributes={"DelaySeconds": "9"})
