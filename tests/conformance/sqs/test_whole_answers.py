# Whole answers, status line to last byte, in both protocols: what the recorded ones of AWS have in common with ours is
# everything but ids and times.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import re
import socket
import urllib.parse

import pytest

CLIENT = "HTTP"
CHAPTER = "SQS on the wire"
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
XML = '<?xml version="1.0"?>'
NS = ' xmlns="http://queue.amazonaws.com/doc/2012-11-05/"'


class Raw:
    """A socket, and answers as they come: (first line, headers in order, body), with ids told apart from the rest."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.host = address

    def ask(self, head, body):
        self.socket.sendall((head + "Host: %s\r\nContent-Length: %d\r\n\r\n" % (self.host, len(body.encode()))).encode() + body.encode())
        return self.answer()

    def answer(self):
        text = b""
        while b"\r\n\r\n" not in text:
            text += self.socket.recv(65536)
        head, _, body = text.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        length = int(dict(headers)["Content-Length"])
        while len(body) < length:
            body += self.socket.recv(65536)
        assert len(body) == length
        plain = re.sub(ID, "<id>", re.sub(r'A[A-Za-z0-9+/]{43}(?=["<])', "<handle>", body.decode()))
        return lines[0], [(k, "<id>" if re.fullmatch(ID, v) else v) for k, v in headers if k != "Content-Length"], plain

    def json(self, action, **members):
        return self.ask("POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.%s\r\n" % action,
                        json.dumps(members))

    def query(self, path="/", **members):
        return self.ask("POST %s HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n" % path,
                        urllib.parse.urlencode(members))


@pytest.fixture
def raw(server):
    it = Raw(server.sqs)
    yield it
    it.socket.close()


OK = "HTTP/1.1 200 OK"
JSON_HEADERS = [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-RequestId", "<id>")]
XML_HEADERS = [("Content-Type", "text/xml"), ("x-amzn-RequestId", "<id>")]


def answered(action, result):
    return (XML + "<%sResponse%s>" % (action, NS) + ("<%sResult>%s</%sResult>" % (action, result, action) if result else "") +
            "<ResponseMetadata><RequestId><id></RequestId></ResponseMetadata></%sResponse>" % action)


def test_whole_answers_in_JSON(raw, fresh):
    name = fresh()
    url = "http://%s/000000000000/%s" % (raw.host, name)
    assert raw.json("CreateQueue", QueueName=name) == (OK, JSON_HEADERS, '{"QueueUrl":"%s"}' % url)
    assert raw.json("SendMessage", QueueUrl=url, MessageBody="hello") == (
        OK, JSON_HEADERS, '{"MD5OfMessageBody":"5d41402abc4b2a76b9719d911017c592","MessageId":"<id>"}')
    assert raw.json("ReceiveMessage", QueueUrl=url, AttributeNames=["ApproximateReceiveCount"]) == (
        OK, JSON_HEADERS, '{"Messages":[{"MessageId":"<id>","ReceiptHandle":"<handle>","MD5OfBody":"5d41402abc4b2a76b9719d911017c592",'
        '"Body":"hello","Attributes":{"ApproximateReceiveCount":"1"}}]}')
    assert raw.json("ReceiveMessage", QueueUrl=url) == (OK, JSON_HEADERS, "{}")
    assert raw.json("PurgeQueue", QueueUrl=url) == (OK, JSON_HEADERS, "{}")


def refusal(code):
    return [JSON_HEADERS[0], ("x-amzn-query-error", code + ";Sender"), JSON_HEADERS[1]]


def test_whole_refusals_in_JSON(raw, fresh):
    url = "http://%s/000000000000/%s" % (raw.host, fresh())
    raw.json("CreateQueue", QueueName=url.rsplit("/")[-1])
    assert raw.json("GetQueueUrl", QueueName=fresh("none")) == (
        "HTTP/1.1 400 Bad Request", refusal("AWS.SimpleQueueService.NonExistentQueue"),
        '{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}')
    assert raw.json("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=11) == (
        "HTTP/1.1 400 Bad Request", refusal("InvalidParameterValue"),
        '{"__type":"com.amazon.coral.service#InvalidParameterValueException","message":"Value 11 for parameter MaxNumberOfMessages is '
        'invalid. Reason: Must be between 1 and 10, if provided."}')
    assert raw.json("DeleteMessage", QueueUrl=url, ReceiptHandle="garbage") == (
        "HTTP/1.1 404 Not Found", refusal("ReceiptHandleIsInvalid"),
        '{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"The input receipt handle \\"garbage\\" is not a valid receipt '
        'handle."}')
    assert raw.json("AddPermission", QueueUrl=url, Label="l", AWSAccountIds=["111122223333"], Actions=["SendMessage"] * 8) == (
        "HTTP/1.1 403 Forbidden", refusal("OverLimit"),
        '{"__type":"com.amazonaws.sqs#OverLimit","message":"8 Actions were found, maximum allowed is 7."}')


def test_whole_answers_in_Query(raw, fresh):
    name = fresh()
    url = "http://%s/000000000000/%s" % (raw.host, name)
    assert raw.query(Action="CreateQueue", QueueName=name) == (OK, XML_HEADERS, answered("CreateQueue", "<QueueUrl>%s</QueueUrl>" % url))
    assert raw.query("/000000000000/" + name, Action="SendMessage", MessageBody='"<\r') == (
        OK, XML_HEADERS, answered("SendMessage", "<MD5OfMessageBody>%s</MD5OfMessageBody><MessageId><id></MessageId>" % md5('"<\r')))
    assert raw.query("/000000000000/" + name, Action="ReceiveMessage") == (
        OK, XML_HEADERS, answered("ReceiveMessage", "<Message><MessageId><id></MessageId><ReceiptHandle><handle></ReceiptHandle>"
                                  "<MD5OfBody>%s</MD5OfBody><Body>&quot;&lt;&#xD;</Body></Message>" % md5('"<\r')))
    assert raw.query("/000000000000/" + name, Action="DeleteQueue") == (OK, XML_HEADERS, answered("DeleteQueue", ""))


def test_whole_refusals_in_Query(raw, fresh):
    def error(code, text):
        return (XML + "<ErrorResponse%s><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message><Detail/></Error>"
                "<RequestId><id></RequestId></ErrorResponse>" % (NS, code, text))
    assert raw.query(Action="GetQueueUrl", QueueName=fresh("none")) == (
        "HTTP/1.1 400 Bad Request", XML_HEADERS,
        error("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist for this wsdl version."))
    assert raw.query("/000000000000/" + fresh("none"), Action="CreateQueue") == (
        "HTTP/1.1 400 Bad Request", XML_HEADERS, error("InvalidAction", "The action CreateQueue is not valid for this endpoint."))


def md5(text):
    import hashlib
    return hashlib.md5(text.encode()).hexdigest()
