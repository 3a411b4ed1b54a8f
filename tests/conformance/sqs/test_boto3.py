# SQS through boto3: every action that the broker promises, and every refusal.
#
# Messages and codes are those that AWS was recorded to give.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import struct
import threading
import time

import boto3
import botocore
import pytest

from broker import wait_until

PROTOCOL = {"json": "JSON", "query": "Query"}[
    boto3.client("sqs").meta.service_model.metadata["protocol"]]
CLIENT = "boto3 %s (%s)" % (boto3.__version__, PROTOCOL)
CHAPTER = "SQS"

GONE = "AWS.SimpleQueueService.NonExistentQueue"


def md5(body):
    return hashlib.md5(body.encode()).hexdigest()


def md5_of_attributes(attributes):
    """The digest that AWS documents: names in order, each piece with its length."""
    digest = hashlib.md5()

    def piece(raw):
        digest.update(struct.pack(">I", len(raw)) + raw)

    for name in sorted(attributes):
        value = attributes[name]
        piece(name.encode())
        piece(value["DataType"].encode())
        if value["DataType"].startswith("Binary"):
            digest.update(b"\x02")
            piece(value["BinaryValue"])
        else:
            digest.update(b"\x01")
            piece(value["StringValue"].encode())
    return digest.hexdigest()


ATTRIBUTES = {
    "order_type": {"DataType": "String", "StringValue": "express ünïcödé"},
    "amount": {"DataType": "Number", "StringValue": "99.990"},
    "weight": {"DataType": "Number.float", "StringValue": "1e3"},
    "picture": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
    "thumb": {"DataType": "Binary.png", "BinaryValue": b"\x89PNG"},
}


# -- queues ----------------------------------------------------------------

def test_a_queue_is_created_and_found_by_its_name(sqs, fresh):
    name = fresh()
    url = sqs.queue(name)
    assert url.endswith("/" + name)
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url


def test_the_queue_url_leads_to_where_the_client_came_from(sqs, fresh):
    assert sqs.queue(fresh()).startswith("http://" + sqs.server.sqs + "/")


def test_a_queue_that_does_not_exist_is_not_found(sqs, fresh, refused):
    words = "The specified queue does not exist" + (" for this wsdl version." if PROTOCOL == "Query" else ".")
    with refused(GONE, words):
        sqs.get_queue_url(QueueName=fresh())


@pytest.mark.parametrize("action", ["send", "receive", "attributes", "purge", "delete"])
def test_every_action_on_a_missing_queue_is_refused(sqs, fresh, refused, action):
    url = sqs.queue(fresh()).rsplit("/", 1)[0] + "/" + fresh("missing")
    with refused(GONE):
        {
            "send": lambda: sqs.send(url),
            "receive": lambda: sqs.receive(url),
            "attributes": lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]),
            "purge": lambda: sqs.purge_queue(QueueUrl=url),
            "delete": lambda: sqs.delete_queue(QueueUrl=url),
        }[action]()


def test_the_library_knows_the_exception_for_a_missing_queue(sqs, fresh):
    with pytest.raises(sqs.client.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName=fresh())


def test_creating_the_same_queue_again_gives_the_same_url(sqs, fresh):
    name = fresh()
    url = sqs.queue(name, VisibilityTimeout=60)
    assert sqs.queue(name, VisibilityTimeout=60) == url
    assert sqs.queue(name) == url


def test_creating_a_queue_again_with_other_attributes_is_refused(sqs, fresh, refused):
    name = fresh()
    sqs.queue(name, DelaySeconds=0)
    with refused("QueueAlreadyExists",
                 "A queue already exists with the same name and a different value for attribute DelaySeconds"):
        sqs.queue(name, DelaySeconds=5)


@pytest.mark.parametrize("name", ["sp ace", "sla/sh", "x" * 81, "dot.ted", ""],
                         ids=["space", "slash", "81 letters", "dot", "empty"])
def test_a_queue_name_that_SQS_forbids_is_refused(sqs, refused, name):
    with refused("InvalidParameterValue"):
        sqs.queue(name)


def test_a_fifo_name_without_the_attribute_is_refused(sqs, fresh, refused):
    """The one place where the article's code does not run on AWS."""
    with refused("InvalidParameterValue"):
        sqs.queue(fresh() + ".fifo")


def test_a_fifo_attribute_without_the_name_is_refused(sqs, fresh, refused):
    with refused("InvalidParameterValue"):
        sqs.queue(fresh(), FifoQueue="true")


def test_queues_are_listed_by_prefix(sqs, fresh):
    mine = fresh("list")
    urls = sorted(sqs.queue("%s-%d" % (mine, n)) for n in range(5))
    assert sorted(sqs.list_queues(QueueNamePrefix=mine)["QueueUrls"]) == urls


def test_a_listing_without_matches_has_no_urls(sqs, fresh):
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=fresh("none"))


def test_queues_are_listed_in_pages(sqs, fresh):
    mine = fresh("page")
    urls = {sqs.queue("%s-%d" % (mine, n)) for n in range(5)}
    seen, token = [], {}
    for _ in range(5):
        page = sqs.list_queues(QueueNamePrefix=mine, MaxResults=2, **token)
        assert len(page["QueueUrls"]) <= 2
        seen += page["QueueUrls"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert sorted(seen) == sorted(urls)


def test_a_fresh_queue_has_the_attributes_of_AWS(sqs, fresh):
    name = fresh()
    url = sqs.queue(name)
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert abs(int(found.pop("CreatedTimestamp")) - time.time()) < 60
    assert abs(int(found.pop("LastModifiedTimestamp")) - time.time()) < 60
    arn = found.pop("QueueArn").split(":")
    assert arn[:3] == ["arn", "aws", "sqs"] and arn[3] == "us-east-1" and arn[5] == name
    assert found.pop("SqsManagedSseEnabled") == "true"
    assert found == {
        "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0", "DelaySeconds": "0", "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30",
    }


def test_a_fifo_queue_has_its_own_attributes(sqs, fresh):
    url = sqs.fifo(fresh(), ContentBasedDeduplication="true", VisibilityTimeout=300, MessageRetentionPeriod=1209600,
                   MaximumMessageSize=262144, ReceiveMessageWaitTimeSeconds=20)
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (found["FifoQueue"], found["ContentBasedDeduplication"], found["DeduplicationScope"],
            found["FifoThroughputLimit"]) == ("true", "true", "queue", "perQueue")
    assert (found["VisibilityTimeout"], found["MessageRetentionPeriod"], found["MaximumMessageSize"],
            found["ReceiveMessageWaitTimeSeconds"]) == ("300", "1209600", "262144", "20")


def test_only_the_attributes_asked_for_are_given(sqs, fresh):
    url = sqs.queue(fresh())
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "DelaySeconds"])["Attributes"] \
        == {"VisibilityTimeout": "30", "DelaySeconds": "0"}
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])


def test_attributes_are_changed(sqs, fresh):
    url = sqs.queue(fresh())
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77", "DelaySeconds": "1"})
    assert (sqs.attribute(url, "VisibilityTimeout"), sqs.attribute(url, "DelaySeconds")) == ("77", "1")


@pytest.mark.parametrize("name, value", [
    ("VisibilityTimeout", "43201"), ("VisibilityTimeout", "-1"), ("VisibilityTimeout", "soon"),
    ("DelaySeconds", "901"), ("MaximumMessageSize", "1023"), ("MaximumMessageSize", "1048577"),
    ("MessageRetentionPeriod", "59"), ("MessageRetentionPeriod", "1209601"), ("ReceiveMessageWaitTimeSeconds", "21"),
])
def test_an_attribute_out_of_bounds_is_refused(sqs, fresh, refused, name, value):
    url = sqs.queue(fresh())
    with refused("InvalidAttributeValue"):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={name: value})


def test_an_unknown_attribute_is_refused(sqs, fresh, refused):
    with refused("InvalidAttributeName"):
        sqs.set_queue_attributes(QueueUrl=sqs.queue(fresh()), Attributes={"Colour": "blue"})


def test_a_queue_does_not_change_its_type(sqs, fresh, refused):
    with refused("InvalidAttributeName", "Unknown Attribute FifoQueue."):
        sqs.set_queue_attributes(QueueUrl=sqs.queue(fresh()), Attributes={"FifoQueue": "true"})
    with refused("InvalidAttributeValue", "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is "
                                          "not supported."):
        sqs.set_queue_attributes(QueueUrl=sqs.fifo(fresh()), Attributes={"FifoQueue": "false"})


def test_a_deleted_queue_is_gone(sqs, fresh, refused):
    name = fresh()
    url = sqs.queue(name)
    sqs.delete_queue(QueueUrl=url)
    with refused(GONE):
        sqs.send(url)
    with refused(GONE):
        sqs.get_queue_url(QueueName=name)


def test_a_queue_created_again_is_empty(sqs, fresh):
    name = fresh()
    url = sqs.queue(name)
    sqs.send(url, "old")
    sqs.delete_queue(QueueUrl=url)
    url = sqs.queue(name)
    assert sqs.receive(url) == []


def test_a_purged_queue_is_empty(sqs, fresh):
    url = sqs.queue(fresh())
    for _ in range(12):
        sqs.send(url)
    sqs.receive(url, 2)                 # in flight: purged too
    sqs.purge_queue(QueueUrl=url)
    wait_until(lambda: sqs.attribute(url, "ApproximateNumberOfMessages") == "0", "the queue is empty")
    assert sqs.attribute(url, "ApproximateNumberOfMessagesNotVisible") == "0"
    assert sqs.receive(url) == []


# -- the forms of a queue url ----------------------------------------------

@pytest.mark.parametrize("form", [
    "https://sqs.us-east-1.amazonaws.com/123456789012/%s", "https://queue.amazonaws.com/123456789012/%s",
    "http://localhost:4566/000000000000/%s", "http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/%s",
    "%s",
], ids=["aws", "legacy", "emulator", "localstack", "bare name"])
def test_a_queue_is_reached_by_every_form_of_its_url(sqs, fresh, form):
    name = fresh()
    url = sqs.queue(name)
    sqs.send(form % name, "by another name")
    got, = sqs.receive(url)
    assert got["Body"] == "by another name"
    sqs.client.delete_message(QueueUrl=form % name, ReceiptHandle=got["ReceiptHandle"])


# -- sending ---------------------------------------------------------------

def test_a_message_arrives_with_its_digest_and_id(sqs, fresh):
    url = sqs.queue(fresh())
    sent = sqs.send(url, "grüße ✓ \t\n\r \"<&>'")
    got, = sqs.receive(url)
    assert got["Body"] == "grüße ✓ \t\n\r \"<&>'"
    assert sent["MD5OfMessageBody"] == got["MD5OfBody"] == md5(got["Body"])
    assert got["MessageId"] == sent["MessageId"]
    assert "SequenceNumber" not in sent and "MD5OfMessageAttributes" not in sent
    assert "Attributes" not in got and "MessageAttributes" not in got


def test_message_attributes_of_every_type_arrive_with_their_digest(sqs, fresh):
    url = sqs.queue(fresh())
    sent = sqs.send(url, MessageAttributes=ATTRIBUTES)
    assert sent["MD5OfMessageAttributes"] == md5_of_attributes(ATTRIBUTES)
    got, = sqs.receive(url, MessageAttributeNames=["All"])
    assert got["MessageAttributes"] == ATTRIBUTES
    assert got["MD5OfMessageAttributes"] == md5_of_attributes(ATTRIBUTES)


@pytest.mark.parametrize("asked, expected", [
    (["order_type"], {"order_type"}), (["All"], set(ATTRIBUTES)), ([".*"], set(ATTRIBUTES)), (["*"], set(ATTRIBUTES)),
    (["unknown"], set()), (["amount", "thumb"], {"amount", "thumb"}),
], ids=["one", "All", "dot star", "star", "unknown", "two"])
def test_only_the_message_attributes_asked_for_are_given(sqs, fresh, asked, expected):
    url = sqs.queue(fresh())
    sqs.send(url, MessageAttributes=ATTRIBUTES)
    got, = sqs.receive(url, MessageAttributeNames=asked)
    given = got.get("MessageAttributes", {})
    assert set(given) == expected
    assert got.get("MD5OfMessageAttributes") == (md5_of_attributes(given) if given else None)


def test_message_attributes_are_found_by_prefix(sqs, fresh):
    url = sqs.queue(fresh())
    value = {"DataType": "String", "StringValue": "v"}
    sqs.send(url, MessageAttributes={"order.type": value, "order.size": value, "other": value})
    got, = sqs.receive(url, MessageAttributeNames=["order.*"])
    assert set(got["MessageAttributes"]) == {"order.type", "order.size"}


def test_the_system_attributes_tell_the_story_of_a_message(sqs, fresh):
    url = sqs.queue(fresh())
    before = time.time()
    sqs.send(url)
    got, = sqs.receive(url, AttributeNames=["All"], VisibilityTimeout=0)
    told = got["Attributes"]
    assert abs(int(told["SentTimestamp"]) / 1000 - before) < 10
    assert abs(int(told["ApproximateFirstReceiveTimestamp"]) / 1000 - before) < 10
    assert told["ApproximateReceiveCount"] == "1" and told["SenderId"]
    again, = sqs.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}


def test_a_trace_header_is_carried(sqs, fresh):
    url = sqs.queue(fresh())
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    sent = sqs.send(url, MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": header}})
    assert sent["MD5OfMessageSystemAttributes"] == md5_of_attributes(
        {"AWSTraceHeader": {"DataType": "String", "StringValue": header}})
    got, = sqs.receive(url, AttributeNames=["AWSTraceHeader"])
    assert got["Attributes"] == {"AWSTraceHeader": header}


def test_a_message_of_one_mebibyte_arrives(sqs, fresh):
    url = sqs.queue(fresh())
    body = "x" * 1048576
    sqs.send(url, body)
    assert sqs.receive(url)[0]["Body"] == body


def test_a_message_above_the_limit_of_its_queue_is_refused(sqs, fresh, refused):
    url = sqs.queue(fresh(), MaximumMessageSize=1024)
    sqs.send(url, "x" * 1024)
    with refused("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."):
        sqs.send(url, "x" * 1025)


def test_attributes_count_towards_the_size_of_a_message(sqs, fresh, refused):
    url = sqs.queue(fresh(), MaximumMessageSize=1024)
    attribute = {"a": {"DataType": "String", "StringValue": "v" * 93}}       # 1 + 6 + 93 = 100
    sqs.send(url, "x" * 924, MessageAttributes=attribute)
    with refused("InvalidParameterValue"):
        sqs.send(url, "x" * 925, MessageAttributes=attribute)


def test_a_character_that_XML_forbids_is_refused(sqs, fresh, refused):
    with refused("InvalidMessageContents"):
        sqs.send(sqs.queue(fresh()), "bell \x07")


def test_an_empty_body_is_refused(sqs, fresh, refused):
    with refused("MissingParameter", "The request must contain the parameter MessageBody."):
        sqs.send(sqs.queue(fresh()), "")


@pytest.mark.parametrize("name, value", [
    ("AWS.mine", {"DataType": "String", "StringValue": "v"}), ("amazon.mine", {"DataType": "String", "StringValue": "v"}),
    ("bad name", {"DataType": "String", "StringValue": "v"}), (".dot", {"DataType": "String", "StringValue": "v"}),
    ("two..dots", {"DataType": "String", "StringValue": "v"}), ("n" * 257, {"DataType": "String", "StringValue": "v"}),
    ("empty", {"DataType": "String", "StringValue": ""}), ("type", {"DataType": "Colour", "StringValue": "v"}),
    ("number", {"DataType": "Number", "StringValue": "many"}),
], ids=["AWS", "Amazon", "space", "dot", "dots", "long", "empty", "type", "number"])
def test_a_message_attribute_that_SQS_forbids_is_refused(sqs, fresh, refused, name, value):
    with refused("InvalidParameterValue"):
        sqs.send(sqs.queue(fresh()), MessageAttributes={name: value})


def test_more_than_ten_message_attributes_are_refused(sqs, fresh, refused):
    many = {"a%d" % n: {"DataType": "String", "StringValue": "v"} for n in range(11)}
    with refused("InvalidParameterValue"):
        sqs.send(sqs.queue(fresh()), MessageAttributes=many)


def test_a_delayed_message_waits(sqs, fresh):
    url = sqs.queue(fresh())
    began = time.monotonic()
    sqs.send(url, "later", DelaySeconds=2)
    sqs.send(url, "now")
    assert [m["Body"] for m in sqs.receive(url)] == ["now"]
    assert sqs.attribute(url, "ApproximateNumberOfMessagesDelayed") == "1"
    got, = sqs.receive(url, wait_s=10)
    assert got["Body"] == "later" and 1.5 <= time.monotonic() - began <= 5


def test_a_queue_may_delay_all_its_messages_and_a_message_may_disagree(sqs, fresh):
    url = sqs.queue(fresh(), DelaySeconds=2)
    sqs.send(url, "as the queue says")
    sqs.send(url, "at once", DelaySeconds=0)
    assert [m["Body"] for m in sqs.receive(url)] == ["at once"]
    assert [m["Body"] for m in sqs.receive(url, wait_s=10)] == ["as the queue says"]


@pytest.mark.parametrize("delay", [-1, 901])
def test_a_delay_out_of_bounds_is_refused(sqs, fresh, refused, delay):
    with refused("InvalidParameterValue"):
        sqs.send(sqs.queue(fresh()), DelaySeconds=delay)


def test_messages_survive_a_restart(sqs, fresh):
    url = sqs.queue(fresh(), VisibilityTimeout=60)
    ids = [sqs.send(url, "%d" % n, MessageAttributes=ATTRIBUTES)["MessageId"] for n in range(5)]
    got = sqs.receive(url, 2)
    sqs.delete(url, got[0])

    sqs.restart()

    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got[1]["ReceiptHandle"], VisibilityTimeout=0)
    seen = {}
    for _ in range(6):
        for m in sqs.receive(url, MessageAttributeNames=["All"]):
            seen[m["MessageId"]] = m
            sqs.delete(url, m)
    assert set(seen) == set(ids) - {got[0]["MessageId"]}
    assert all(m["MessageAttributes"] == ATTRIBUTES for m in seen.values())


def test_the_attributes_of_a_queue_survive_a_restart(sqs, fresh):
    url, dead = sqs.queue(fresh(), VisibilityTimeout=77), sqs.queue(fresh("dead"))
    sqs.redrive(url, dead, 3)
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    sqs.restart()
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] == before


# -- batches ---------------------------------------------------------------

def entries(*bodies, **more):
    return [dict({"Id": "e%d" % n, "MessageBody": body}, **more) for n, body in enumerate(bodies)]


def test_a_batch_of_ten_is_sent_and_deleted(sqs, fresh):
    url = sqs.queue(fresh())
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries(*"0123456789", MessageAttributes=ATTRIBUTES))
    assert [e["Id"] for e in answer["Successful"]] == ["e%d" % n for n in range(10)]
    assert "Failed" not in answer
    assert answer["Successful"][3]["MD5OfMessageBody"] == md5("3")
    assert answer["Successful"][3]["MD5OfMessageAttributes"] == md5_of_attributes(ATTRIBUTES)
    got = sqs.receive(url)
    assert sorted(m["Body"] for m in got) == list("0123456789")
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=[
        {"Id": "d%d" % n, "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(got)])
    assert len(answer["Successful"]) == 10 and "Failed" not in answer
    assert sqs.attribute(url, "ApproximateNumberOfMessagesNotVisible") == "0"


def test_one_bad_entry_does_not_spoil_the_batch(sqs, fresh):
    url = sqs.queue(fresh(), MaximumMessageSize=1024)
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries("good", "x" * 1025, "good too"))
    assert [e["Id"] for e in answer["Successful"]] == ["e0", "e2"]
    failed, = answer["Failed"]
    assert (failed["Id"], failed["SenderFault"], failed["Code"]) == ("e1", True, "InvalidParameterValue")
    assert "Message must be shorter than 1024 bytes." in failed["Message"]


def test_one_bad_handle_does_not_spoil_the_deletes(sqs, fresh):
    url = sqs.queue(fresh())
    sqs.send(url)
    got, = sqs.receive(url)
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=[
        {"Id": "good", "ReceiptHandle": got["ReceiptHandle"]}, {"Id": "bad", "ReceiptHandle": "garbage"}])
    assert [e["Id"] for e in answer["Successful"]] == ["good"]
    assert [(e["Id"], e["Code"], e["SenderFault"]) for e in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid", True)]


@pytest.mark.parametrize("batch, code", [
    ([], "EmptyBatchRequest"), (entries(*"01234567890"), "TooManyEntriesInBatchRequest"),
    ([{"Id": "same", "MessageBody": "x"}] * 2, "BatchEntryIdsNotDistinct"),
    ([{"Id": "bad id", "MessageBody": "x"}], "InvalidBatchEntryId"),
    ([{"Id": "i" * 81, "MessageBody": "x"}], "InvalidBatchEntryId"),
    (entries("x" * 600000, "y" * 600000), "BatchRequestTooLong"),
], ids=["empty", "eleven", "twins", "bad id", "long id", "too long"])
def test_a_bad_batch_is_refused_as_a_whole(sqs, fresh, refused, batch, code):
    url = sqs.queue(fresh())
    with refused("AWS.SimpleQueueService." + code):
        sqs.send_message_batch(QueueUrl=url, Entries=batch)
    assert sqs.attribute(url, "ApproximateNumberOfMessages") == "0"


# -- receiving -------------------------------------------------------------

def test_an_empty_queue_gives_no_messages(sqs, fresh):
    assert "Messages" not in sqs.receive_message(QueueUrl=sqs.queue(fresh()))


def test_one_message_is_given_unless_more_are_asked_for(sqs, fresh):
    url = sqs.queue(fresh())
    for _ in range(3):
        sqs.send(url)
    assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1


@pytest.mark.parametrize("count", [0, 11])
def test_a_number_of_messages_out_of_bounds_is_refused(sqs, fresh, refused, count):
    with refused("InvalidParameterValue", "Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be "
                                          "between 1 and 10, if provided." % count):
        sqs.receive(sqs.queue(fresh()), count)


@pytest.mark.parametrize("wait", [-1, 21])
def test_a_wait_out_of_bounds_is_refused(sqs, fresh, refused, wait):
    with refused("InvalidParameterValue", "Value %d for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 "
                                          "and <= 20, if provided." % wait):
        sqs.receive(sqs.queue(fresh()), wait_s=wait)


class Waiter(threading.Thread):
    """A long poll in its own thread; tells when it came back and with what."""

    def __init__(self, sqs, url, wait_s=10, **more):
        super().__init__(daemon=True)
        self.call = lambda: sqs.receive(url, wait_s=wait_s, **more)
        self.got, self.at = None, None
        self.start()

    def run(self):
        self.got = self.call()
        self.at = time.monotonic()

    def result(self, timeout_s=15):
        self.join(timeout_s)
        assert self.got is not None, "the long poll did not come back"
        return self.got


def test_a_long_poll_is_woken_by_a_send(sqs, fresh):
    url = sqs.queue(fresh())
    took = []
    for n in range(5):
        waiter = Waiter(sqs, url)
        waiter.join(0.3)                # it waits at the broker now
        assert waiter.is_alive()
        began = time.monotonic()
        sqs.send(url, "%d" % n)
        assert [m["Body"] for m in waiter.result()] == ["%d" % n]
        took.append(waiter.at - began)
    assert sorted(took)[2] < 0.3, took


def test_a_long_poll_is_woken_by_a_visibility_timeout(sqs, fresh):
    url = sqs.queue(fresh(), VisibilityTimeout=1)
    sqs.send(url)
    sqs.receive(url)
    began = time.monotonic()
    assert len(sqs.receive(url, wait_s=10)) == 1
    assert time.monotonic() - began < 4


def test_a_long_poll_is_woken_by_a_change_of_visibility(sqs, fresh):
    url = sqs.queue(fresh())
    sqs.send(url)
    got, = sqs.receive(url)
    waiter = Waiter(sqs, url)
    waiter.join(0.3)
    began = time.monotonic()
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
    assert len(waiter.result()) == 1 and waiter.at - began < 1


def test_a_long_poll_without_messages_ends_after_its_time(sqs, fresh):
    url = sqs.queue(fresh())
    began = time.monotonic()
    assert sqs.receive(url, wait_s=1) == []
    assert 0.9 <= time.monotonic() - began <= 2.5


def test_the_wait_of_the_queue_holds_when_the_call_names_none(sqs, fresh):
    url = sqs.queue(fresh(), ReceiveMessageWaitTimeSeconds=1)
    began = time.monotonic()
    sqs.receive_message(QueueUrl=url)
    assert 0.9 <= time.monotonic() - began <= 2.5


def test_two_long_polls_share_two_messages(sqs, fresh):
    url = sqs.queue(fresh())
    waiters = [Waiter(sqs, url, count=1) for _ in range(2)]
    waiters[0].join(0.3)
    sqs.send_message_batch(QueueUrl=url, Entries=entries("a", "b"))
    assert sorted(w.result()[0]["Body"] for w in waiters) == ["a", "b"]


# -- visibility ------------------------------------------------------------

def test_a_received_message_is_hidden_and_comes_back(sqs, fresh):
    url = sqs.queue(fresh(), VisibilityTimeout=1)
    sqs.send(url)
    first, = sqs.receive(url)
    assert sqs.receive(url) == []
    assert sqs.attribute(url, "ApproximateNumberOfMessagesNotVisible") == "1"
    again, = sqs.receive(url, wait_s=5, AttributeNames=["ApproximateReceiveCount"])
    assert again["MessageId"] == first["MessageId"] and again["ReceiptHandle"] != first["ReceiptHandle"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_the_visibility_timeout_of_a_call_overrides_the_queue(sqs, fresh):
    url = sqs.queue(fresh(), VisibilityTimeout=1)
    sqs.send(url)
    sqs.receive(url, VisibilityTimeout=30)
    assert sqs.receive(url, wait_s=2) == []


def test_a_visibility_timeout_is_extended(sqs, fresh):
    url = sqs.queue(fresh(), VisibilityTimeout=1)
    sqs.send(url)
    got, = sqs.receive(url)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=30)
    assert sqs.receive(url, wait_s=2) == []


def test_a_visibility_timeout_of_zero_gives_the_message_back(sqs, fresh):
    url = sqs.queue(fresh())
    sqs.send(url)
    got, = sqs.receive(url)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
    assert len(sqs.receive(url)) == 1


def test_the_visibility_of_many_is_changed_at_once(sqs, fresh):
    url = sqs.queue(fresh())
    sqs.send_message_batch(QueueUrl=url, Entries=entries("a", "b"))
    got = []
    while len(got) < 2:
        got += sqs.receive(url, wait_s=1)
    answer = sqs.change_message_visibility_batch(QueueUrl=url, Entries=[
        {"Id": "a", "ReceiptHandle": got[0]["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "b", "ReceiptHandle": got[1]["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "c", "ReceiptHandle": "garbage", "VisibilityTimeout": 0}])
    assert [e["Id"] for e in answer["Successful"]] == ["a", "b"]
    assert [(e["Id"], e["Code"]) for e in answer["Failed"]] == [("c", "ReceiptHandleIsInvalid")]
    assert len(sqs.receive(url)) == 2


def test_a_visibility_timeout_out_of_bounds_is_refused(sqs, fresh, refused):
    url = sqs.queue(fresh())
    sqs.send(url)
    got, = sqs.receive(url)
    with refused("InvalidParameterValue"):
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=43201)


def test_the_visibility_of_a_deleted_message_is_not_changed(sqs, fresh, refused):
    url = sqs.queue(fresh())
    sqs.send(url)
    got, = sqs.receive(url)
    sqs.delete(url, got)
    with refused("InvalidParameterValue", "Reason: Message does not exist or is not available for visibility timeout change."):
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)


def test_a_deleted_message_does_not_come_back(sqs, fresh):
    url = sqs.queue(fresh(), VisibilityTimeout=1)
    sqs.send(url)
    got, = sqs.receive(url)
    sqs.delete(url, got)
    sqs.delete(url, got)                # twice is fine
    assert sqs.receive(url, wait_s=2) == []


def test_a_message_is_deleted_after_its_visibility_timeout(sqs, fresh):
    url = sqs.queue(fresh())
    sqs.send(url)
    got, = sqs.receive(url, VisibilityTimeout=0)
    sqs.delete(url, got)
    assert sqs.receive(url, wait_s=1) == []


def test_a_receipt_handle_that_is_garbage_is_refused(sqs, fresh, refused):
    with refused("ReceiptHandleIsInvalid", 'The input receipt handle "garbage" is not a valid receipt handle.', 404):
        sqs.client.delete_message(QueueUrl=sqs.queue(fresh()), ReceiptHandle="garbage")


# -- FIFO ------------------------------------------------------------------

def send_fifo(sqs, url, body, group="g", **more):
    more.setdefault("MessageDeduplicationId", body)
    return sqs.send(url, body, MessageGroupId=group, **more)


def test_a_fifo_queue_keeps_the_order_of_a_group(sqs, fresh):
    url = sqs.fifo(fresh())
    for n in range(25):
        send_fifo(sqs, url, "%02d" % n)
    seen = []
    for _ in range(25):
        got = sqs.receive(url)
        for m in got:
            seen.append(m["Body"])
            sqs.delete(url, m)
        if not got:
            break
    assert seen == ["%02d" % n for n in range(25)]


def test_sequence_numbers_grow(sqs, fresh):
    url = sqs.fifo(fresh())
    numbers = [int(send_fifo(sqs, url, "%d" % n)["SequenceNumber"]) for n in range(5)]
    assert numbers == sorted(set(numbers))
    got = sqs.receive(url, AttributeNames=["All"])
    assert [int(m["Attributes"]["SequenceNumber"]) for m in got] == numbers
    assert [m["Attributes"]["MessageGroupId"] for m in got] == ["g"] * 5
    assert [m["Attributes"]["MessageDeduplicationId"] for m in got] == list("01234")


def test_a_group_in_flight_is_blocked_and_others_are_not(sqs, fresh):
    url = sqs.fifo(fresh())
    for body, group in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        send_fifo(sqs, url, body, group)
    first, = sqs.receive(url, 1)
    assert first["Body"] == "a1"
    assert [m["Body"] for m in sqs.receive(url)] == ["b1"]
    assert sqs.receive(url) == []
    sqs.delete(url, first)
    assert [m["Body"] for m in sqs.receive(url)] == ["a2"]


def test_one_receive_drains_a_group_before_the_next(sqs, fresh):
    url = sqs.fifo(fresh())
    for body, group in (("g1-m1", "g1"), ("g2-m1", "g2"), ("g1-m2", "g1")):
        send_fifo(sqs, url, body, group)
    assert [m["Body"] for m in sqs.receive(url)] == ["g1-m1", "g1-m2", "g2-m1"]


def test_a_group_comes_back_in_order_after_its_timeout(sqs, fresh):
    url = sqs.fifo(fresh(), VisibilityTimeout=1)
    for n in range(3):
        send_fifo(sqs, url, "%d" % n)
    assert [m["Body"] for m in sqs.receive(url)] == ["0", "1", "2"]
    assert [m["Body"] for m in sqs.receive(url, wait_s=5)] == ["0", "1", "2"]


def test_a_fifo_message_is_not_deleted_after_its_timeout(sqs, fresh, refused):
    url = sqs.fifo(fresh(), VisibilityTimeout=1)
    send_fifo(sqs, url, "x")
    got, = sqs.receive(url)
    assert len(sqs.receive(url, wait_s=5, VisibilityTimeout=30)) == 1        # its time is over
    with refused("InvalidParameterValue", "Reason: The receipt handle has expired."):
        sqs.delete(url, got)


def test_a_duplicate_is_accepted_and_not_delivered(sqs, fresh):
    url = sqs.fifo(fresh())
    one = send_fifo(sqs, url, "first", MessageDeduplicationId="same")
    two = send_fifo(sqs, url, "second", MessageDeduplicationId="same")
    assert one["MessageId"] == two["MessageId"]
    assert [m["Body"] for m in sqs.receive(url)] == ["first"]


def test_a_duplicate_is_known_after_its_original_was_deleted(sqs, fresh):
    url = sqs.fifo(fresh())
    send_fifo(sqs, url, "x")
    got, = sqs.receive(url)
    sqs.delete(url, got)
    send_fifo(sqs, url, "x")
    assert sqs.receive(url, wait_s=1) == []


def test_a_duplicate_is_known_after_a_restart(sqs, fresh):
    url = sqs.fifo(fresh())
    one = send_fifo(sqs, url, "x")
    sqs.restart()
    assert send_fifo(sqs, url, "x")["MessageId"] == one["MessageId"]
    assert len(sqs.receive(url)) == 1


def test_the_content_may_be_the_deduplication_id(sqs, fresh):
    url = sqs.fifo(fresh(), ContentBasedDeduplication="true")
    ids = [sqs.send(url, body, MessageGroupId="g")["MessageId"] for body in ("same", "same", "other")]
    assert ids[0] == ids[1] != ids[2]
    got = sqs.receive(url, AttributeNames=["MessageDeduplicationId"])
    assert [m["Body"] for m in got] == ["same", "other"]
    assert got[0]["Attributes"]["MessageDeduplicationId"] == hashlib.sha256(b"same").hexdigest()


def test_without_a_deduplication_id_a_message_is_refused(sqs, fresh, refused):
    with refused("InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or "
                                          "MessageDeduplicationId provided explicitly"):
        sqs.send(sqs.fifo(fresh()), MessageGroupId="g")


def test_without_a_group_a_message_is_refused(sqs, fresh, refused):
    with refused("MissingParameter", "The request must contain the parameter MessageGroupId."):
        sqs.send(sqs.fifo(fresh()), MessageDeduplicationId="d")


@pytest.mark.parametrize("name", ["MessageGroupId", "MessageDeduplicationId"])
def test_a_group_or_deduplication_id_that_SQS_forbids_is_refused(sqs, fresh, refused, name):
    ids = dict(MessageGroupId="g", MessageDeduplicationId="d")
    ids[name] = "with space"
    with refused("InvalidParameterValue", "can only include alphanumeric and punctuation characters. 1 to 128 in length."):
        sqs.send(sqs.fifo(fresh()), **ids)


def test_a_fifo_message_has_no_delay_of_its_own(sqs, fresh, refused):
    url = sqs.fifo(fresh())
    send_fifo(sqs, url, "x", DelaySeconds=0)
    with refused("InvalidParameterValue", "Value 2 for parameter DelaySeconds is invalid. Reason: The request include "
                                          "parameter that is not valid for this queue type."):
        send_fifo(sqs, url, "y", DelaySeconds=2)


def test_a_purge_forgets_the_duplicates(sqs, fresh):
    url = sqs.fifo(fresh())
    send_fifo(sqs, url, "x")
    sqs.purge_queue(QueueUrl=url)
    wait_until(lambda: sqs.attribute(url, "ApproximateNumberOfMessages") == "0", "the queue is empty")
    send_fifo(sqs, url, "x")
    assert len(sqs.receive(url, wait_s=2)) == 1


# -- fair queues -----------------------------------------------------------

def test_a_noisy_group_of_a_standard_queue_waits_for_a_quiet_one(sqs, fresh, peer):
    if peer != "hawser":
        pytest.skip("nobody else's fairness can be foretold")
    url = sqs.queue(fresh())
    for n in range(40):
        sqs.send(url, "noisy", MessageGroupId="ann")
    sqs.send(url, "quiet", MessageGroupId="bob")
    sqs.send(url, "alone")
    bodies = []
    while len(bodies) < 42:
        got = sqs.receive(url, wait_s=2, AttributeNames=["MessageGroupId"])
        assert got
        assert [m.get("Attributes", {}).get("MessageGroupId") for m in got if m["Body"] == "quiet"] in ([], ["bob"])
        bodies += [m["Body"] for m in got]
    # Thirty in flight are noise.
    assert bodies == ["noisy"] * 30 + ["quiet", "alone"] + ["noisy"] * 10


# -- dead letters ----------------------------------------------------------

def test_a_message_received_too_often_goes_to_the_dead_letters(sqs, fresh):
    url, dead = sqs.queue(fresh(), VisibilityTimeout=0), sqs.queue(fresh("dead"))
    sqs.redrive(url, dead, 2)
    sent = sqs.send(url, "poison", MessageAttributes=ATTRIBUTES)
    for _ in range(2):
        assert len(sqs.receive(url, wait_s=2)) == 1
    assert sqs.receive(url, wait_s=1) == []
    got, = sqs.receive(dead, wait_s=2, AttributeNames=["All"], MessageAttributeNames=["All"])
    assert (got["MessageId"], got["Body"]) == (sent["MessageId"], "poison")
    assert got["MessageAttributes"] == ATTRIBUTES
    assert got["Attributes"]["ApproximateReceiveCount"] == "3"
    assert got["Attributes"]["DeadLetterQueueSourceArn"] == sqs.arn(url)


def test_a_fifo_message_received_too_often_makes_way_for_the_next(sqs, fresh):
    url, dead = sqs.fifo(fresh(), VisibilityTimeout=0), sqs.fifo(fresh("dead"))
    sqs.redrive(url, dead, 1)
    send_fifo(sqs, url, "poison")
    send_fifo(sqs, url, "next")
    assert [m["Body"] for m in sqs.receive(url, 1)] == ["poison"]
    assert [m["Body"] for m in sqs.receive(url, 1, wait_s=2)] == ["next"]
    assert [m["Body"] for m in sqs.receive(dead, wait_s=2)] == ["poison"]


def test_the_redrive_policy_is_told_and_taken_away(sqs, fresh):
    url, dead = sqs.queue(fresh()), sqs.queue(fresh("dead"))
    sqs.redrive(url, dead, 5)
    told = json.loads(sqs.attribute(url, "RedrivePolicy"))
    assert told["deadLetterTargetArn"] == sqs.arn(dead) and int(told["maxReceiveCount"]) == 5
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    assert sqs.attribute(url, "RedrivePolicy") is None


def test_a_redrive_policy_may_be_given_at_creation(sqs, fresh):
    dead = sqs.queue(fresh("dead"))
    url = sqs.queue(fresh(), RedrivePolicy=json.dumps({"deadLetterTargetArn": sqs.arn(dead), "maxReceiveCount": "1"}),
                    VisibilityTimeout=0)
    sqs.send(url)
    assert len(sqs.receive(url)) == 1
    assert sqs.receive(url) == []
    assert len(sqs.receive(dead, wait_s=2)) == 1


@pytest.mark.parametrize("policy", [
    {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:no-such-queue", "maxReceiveCount": 1},
    {"deadLetterTargetArn": None, "maxReceiveCount": 0}, {"deadLetterTargetArn": None, "maxReceiveCount": 1001},
    {"maxReceiveCount": 3}, {"deadLetterTargetArn": None}, "not json",
], ids=["missing queue", "zero", "1001", "no target", "no count", "not json"])
def test_a_bad_redrive_policy_is_refused(sqs, fresh, refused, policy):
    url, dead = sqs.queue(fresh()), sqs.queue(fresh("dead"))
    if isinstance(policy, dict):
        policy = json.dumps({k: sqs.arn(dead) if v is None else v for k, v in policy.items()})
    # AWS has been seen to answer both for a missing dead-letter queue.
    with refused((GONE, "InvalidParameterValue") if "no-such-queue" in policy else "InvalidParameterValue"):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})


# -- the wire --------------------------------------------------------------

def test_every_answer_has_a_request_id(sqs, fresh):
    answer = sqs.get_queue_attributes(QueueUrl=sqs.queue(fresh()), AttributeNames=["All"])
    assert answer["ResponseMetadata"]["RequestId"]


# -- permissions -----------------------------------------------------------

def test_permissions_are_statements_of_the_policy(sqs, fresh, refused):
    url = sqs.queue(fresh())
    arn = sqs.arn(url)
    sqs.add_permission(QueueUrl=url, Label="one", AWSAccountIds=["111122223333"], Actions=["ReceiveMessage"])
    assert json.loads(sqs.attribute(url, "Policy")) == {
        "Version": "2008-10-17", "Id": arn + "/SQSDefaultPolicy", "Statement": [
            {"Sid": "one", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
             "Action": "SQS:ReceiveMessage", "Resource": arn}]}
    with refused("InvalidParameterValue", "Value one for parameter Label is invalid. Reason: Already exists."):
        sqs.add_permission(QueueUrl=url, Label="one", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    with refused("InvalidParameterValue", "Reason: can't find label."):
        sqs.remove_permission(QueueUrl=url, Label="two")
    with refused("OverLimit", "8 Actions were found, maximum allowed is 7.", 403):
        sqs.add_permission(QueueUrl=url, Label="two", AWSAccountIds=["111122223333"], Actions=["SendMessage"] * 8)
    sqs.remove_permission(QueueUrl=url, Label="one")
    assert sqs.attribute(url, "Policy") is None


def test_a_policy_that_cannot_be_enforced_is_refused(sqs, fresh, refused):
    url = sqs.queue(fresh())
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": sqs.arn(url)}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    assert json.loads(sqs.attribute(url, "Policy")) == policy
    policy["Statement"][0]["Condition"] = {"MoonPhase": {"aws:CurrentTime": "full"}}
    with refused("InvalidAttributeValue", "Invalid value for the parameter Policy."):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})


def test_a_dead_letter_queue_says_whose_it_is(sqs, fresh, refused):
    dead, url = sqs.queue(fresh("dead")), sqs.queue(fresh())
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps({"redrivePermission": "denyAll"})})
    with refused("InvalidParameterValue", "does not permit this source queue"):
        sqs.redrive(url, dead, 3)
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps(
        {"redrivePermission": "byQueue", "sourceQueueArns": [sqs.arn(url)]})})
    sqs.redrive(url, dead, 3)


def test_the_resource_interface_works(sqs, fresh):
    resource = boto3.resource("sqs", endpoint_url="http://" + sqs.server.sqs)
    queue = resource.create_queue(QueueName=fresh())
    queue.send_message(MessageBody="hello")
    message, = queue.receive_messages()
    assert message.body == "hello"
    message.delete()
    queue.delete()
