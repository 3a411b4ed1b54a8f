# SQS from the command line: the distribution's AWS CLI, which speaks Query.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess

import pytest

CHAPTER = "SQS"
AWS = "/usr/bin/aws" if os.path.exists("/usr/bin/aws") else shutil.which("aws")
pytestmark = [pytest.mark.skipif(not AWS, reason="the AWS CLI is not installed"), pytest.mark.timeout(120)]


def version():
    said = subprocess.run([AWS, "--version"], capture_output=True, text=True).stdout if AWS else ""
    return said.split()[0].rpartition("/")[2] if said else ""


CLIENT = "aws-cli " + version()


@pytest.fixture
def aws(server):
    def run(*arguments, fails=False):
        ended = subprocess.run([AWS, "--endpoint-url", "http://" + server.sqs, "--output", "json", "sqs"] +
                               list(arguments), capture_output=True, text=True, timeout=60)
        if fails:
            assert ended.returncode != 0
            return ended.stderr
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout) if ended.stdout.strip() else {}
    return run


def test_a_message_is_sent_received_and_deleted(aws, fresh):
    url = aws("create-queue", "--queue-name", fresh())["QueueUrl"]
    sent = aws("send-message", "--queue-url", url, "--message-body", "hello", "--message-attributes",
               '{"order_type":{"DataType":"String","StringValue":"express"}}')
    got, = aws("receive-message", "--queue-url", url, "--wait-time-seconds", "1", "--message-attribute-names", "All",
               "--attribute-names", "All")["Messages"]
    assert (got["Body"], got["MessageId"]) == ("hello", sent["MessageId"])
    assert got["MessageAttributes"]["order_type"]["StringValue"] == "express"
    aws("delete-message", "--queue-url", url, "--receipt-handle", got["ReceiptHandle"])
    counts = aws("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
    aws("delete-queue", "--queue-url", url)


def test_queues_are_listed_by_prefix(aws, fresh):
    name = fresh("cli")
    url = aws("create-queue", "--queue-name", name)["QueueUrl"]
    assert aws("list-queues", "--queue-name-prefix", name)["QueueUrls"] == [url]


def test_a_queue_that_does_not_exist_is_not_found(aws, fresh):
    said = aws("get-queue-url", "--queue-name", fresh(), fails=True)
    assert "AWS.SimpleQueueService.NonExistentQueue" in said
