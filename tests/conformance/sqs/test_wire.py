# SQS without a library: the bytes that other SDKs send and look at.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import http.client
import json
import re
import time
import urllib.parse
import xml.etree.ElementTree as xml

import pytest

CLIENT = "HTTP"
CHAPTER = "SQS on the wire"
NS = "{http://queue.amazonaws.com/doc/2012-11-05/}"


class Wire:
    def __init__(self, address):
        self.address = address
        self.connection = http.client.HTTPConnection(address, timeout=30)

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        return answer, answer.read().decode()

    def json(self, action, _path="/", **members):
        answer, body = self.call("POST", _path, json.dumps(members), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action})
        return answer, (json.loads(body) if body else {})

    def query(self, action, _path="/", _method="POST", **members):
        text = urllib.parse.urlencode(dict({"Action": action, "Version": "2012-11-05"}, **members))
        if _method == "GET":
            answer, body = self.call("GET", _path + "?" + text)
        else:
            answer, body = self.call("POST", _path, text, {"Content-Type": "application/x-www-form-urlencoded"})
        return answer, xml.fromstring(body)


@pytest.fixture
def wire(server):
    it = Wire(server.sqs)
    yield it
    it.connection.close()


def path_of(url):
    return urllib.parse.urlparse(url).path


def test_the_JSON_protocol_answers_as_AWS_does(wire, fresh):
    answer, body = wire.json("CreateQueue", QueueName=fresh())
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "application/x-amz-json-1.0"
    assert answer.getheader("x-amzn-RequestId")
    assert set(body) == {"QueueUrl"}
    answer, body = wire.json("ReceiveMessage", QueueUrl=body["QueueUrl"])
    assert answer.status == 200 and body == {}


def test_a_JSON_error_names_the_shape_and_the_query_code(wire, fresh):
    answer, body = wire.json("GetQueueUrl", QueueName=fresh())
    assert answer.status == 400
    assert body["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"
    assert body["message"] == "The specified queue does not exist."
    assert answer.getheader("x-amzn-query-error") == "AWS.SimpleQueueService.NonExistentQueue;Sender"


def test_a_JSON_request_may_go_to_the_path_of_the_queue(wire, fresh):
    """The PHP SDK does; the header that names the action wins over the path."""
    url = wire.json("CreateQueue", QueueName=fresh())[1]["QueueUrl"]
    answer, body = wire.json("SendMessage", path_of(url), QueueUrl=url, MessageBody="hello")
    assert answer.status == 200 and body["MessageId"]


def test_the_Query_protocol_answers_as_AWS_does(wire, fresh):
    answer, tree = wire.query("CreateQueue", QueueName=fresh())
    assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/xml")
    assert tree.tag == NS + "CreateQueueResponse"
    assert tree.find("./%sCreateQueueResult/%sQueueUrl" % (NS, NS)).text
    assert tree.find("./%sResponseMetadata/%sRequestId" % (NS, NS)).text


def test_a_Query_error_is_an_ErrorResponse(wire, fresh):
    answer, tree = wire.query("GetQueueUrl", QueueName=fresh())
    assert answer.status == 400 and tree.tag == NS + "ErrorResponse"
    error = tree.find(NS + "Error")
    assert error.find(NS + "Type").text == "Sender"
    assert error.find(NS + "Code").text == "AWS.SimpleQueueService.NonExistentQueue"
    assert error.find(NS + "Message").text == "The specified queue does not exist for this wsdl version."
    assert tree.find(NS + "RequestId").text


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_Query_may_go_to_the_path_of_the_queue(wire, fresh, method):
    tree = wire.query("CreateQueue", QueueName=fresh())[1]
    path = path_of(tree.find(".//%sQueueUrl" % NS).text)
    answer, tree = wire.query("SendMessage", path, method, MessageBody="by path")
    assert answer.status == 200
    answer, tree = wire.query("ReceiveMessage", path, method)
    assert tree.find(".//%sBody" % NS).text == "by path"


def test_a_QueueUrl_wins_over_the_path(wire, fresh):
    one = wire.json("CreateQueue", QueueName=fresh("one"))[1]["QueueUrl"]
    two = wire.json("CreateQueue", QueueName=fresh("two"))[1]["QueueUrl"]
    wire.query("SendMessage", path_of(one), QueueUrl=two, MessageBody="for two")
    assert wire.json("ReceiveMessage", QueueUrl=two)[1]["Messages"][0]["Body"] == "for two"
    assert wire.json("ReceiveMessage", QueueUrl=one)[1] == {}


def test_an_action_that_nobody_knows_is_refused_in_Query(wire):
    answer, tree = wire.query("MakeCoffee")
    assert answer.status == 400 and tree.find(".//%sCode" % NS).text == "InvalidAction"


def test_an_action_that_nobody_knows_is_refused_in_JSON(wire):
    answer, body = wire.json("MakeCoffee")
    assert answer.status in (400, 404) and "__type" in body


def test_a_body_that_is_no_JSON_is_refused(wire):
    answer, body = wire.call("POST", "/", "{no json", {"Content-Type": "application/x-amz-json-1.0",
                                                        "X-Amz-Target": "AmazonSQS.ListQueues"})
    assert answer.status == 400 and "__type" in json.loads(body)


def test_many_requests_share_a_connection(wire, fresh):
    url = wire.json("CreateQueue", QueueName=fresh())[1]["QueueUrl"]
    port = wire.connection.sock.getsockname()
    for n in range(100):
        answer, _ = wire.json("SendMessage", QueueUrl=url, MessageBody="%d" % n)
        assert answer.status == 200
    assert wire.connection.sock.getsockname() == port


def test_a_message_with_any_character_survives_both_protocols(wire, fresh):
    text = "tab\t lf\n cr\r quote\" amp& lt< gt> apos' ünï ✓ 𝄞"
    url = wire.json("CreateQueue", QueueName=fresh())[1]["QueueUrl"]
    wire.json("SendMessage", QueueUrl=url, MessageBody=text)
    _, tree = wire.query("ReceiveMessage", QueueUrl=url, VisibilityTimeout=0)
    assert tree.find(".//%sBody" % NS).text == text
    wire.query("SendMessage", QueueUrl=url, MessageBody=text)
    for _ in range(2):
        assert wire.json("ReceiveMessage", QueueUrl=url)[1]["Messages"][0]["Body"] == text


def test_a_client_that_waits_for_100_continue_is_answered(wire, fresh):
    url = wire.json("CreateQueue", QueueName=fresh())[1]["QueueUrl"]
    body = json.dumps({"QueueUrl": url, "MessageBody": "patient"}).encode()
    sock = wire.connection.sock
    sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: "
                 b"AmazonSQS.SendMessage\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert re.match(rb"HTTP/1\.1 100 Continue\r\n\r\n", sock.recv(4096))
    sock.sendall(body)
    assert sock.recv(4096).startswith(b"HTTP/1.1 200")


def test_the_url_of_a_queue_follows_the_Host_header(wire, fresh):
    _, body = wire.call("POST", "/", json.dumps({"QueueName": fresh()}), {
        "Host": "broker.example.com:4566", "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.CreateQueue"})
    assert json.loads(body)["QueueUrl"].startswith("http://broker.example.com:4566/")


def test_a_consumer_that_goes_while_it_waits_takes_nothing_along(wire, fresh):
    url = wire.json("CreateQueue", QueueName=fresh())[1]["QueueUrl"]
    for _ in range(5):      # that it has gone may be noticed a moment late, but not every time
        waiting = Wire(wire.address)
        waiting.connection.request("POST", "/", json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ReceiveMessage"})
        time.sleep(0.2)
        waiting.connection.close()
        time.sleep(0.2)
        wire.json("SendMessage", QueueUrl=url, MessageBody="mine")
        if wire.json("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=1)[1].get("Messages"):
            return
    raise AssertionError("a message was leased to a consumer that had gone, each time")
