# The fixtures of the SQS scenarios.
#
# The same scenarios speak Query with an old boto3 and AWS JSON with a new one.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import json

import boto3
import botocore.config
import botocore.exceptions
import pytest


def client(address):
    config = botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=40,
                                    max_pool_connections=20)
    return boto3.client("sqs", endpoint_url="http://" + address, config=config)


class Sqs:
    """A boto3 client, and short ways to say what every scenario says."""

    def __init__(self, server):
        self.server = server
        self.client = client(server.sqs)
        self.queues = []

    def __getattr__(self, name):
        return getattr(self.client, name)

    @property
    def protocol(self):
        return self.client.meta.service_model.metadata["protocol"]

    def queue(self, name, **attributes):
        made = {"Attributes": {k: str(v) for k, v in attributes.items()}} if attributes else {}
        url = self.client.create_queue(QueueName=name, **made)["QueueUrl"]
        self.queues.append(url)
        return url

    def fifo(self, name, **attributes):
        return self.queue(name + ".fifo", FifoQueue="true", **attributes)

    def send(self, url, body="x", **more):
        return self.client.send_message(QueueUrl=url, MessageBody=body, **more)

    def receive(self, url, count=10, wait_s=0, **more):
        return self.client.receive_message(QueueUrl=url, MaxNumberOfMessages=count, WaitTimeSeconds=wait_s,
                                           **more).get("Messages", [])

    def delete(self, url, message):
        self.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def attribute(self, url, name):
        found = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return found.get("Attributes", {}).get(name)

    def arn(self, url):
        return self.attribute(url, "QueueArn")

    def redrive(self, url, dead_letters, times):
        self.client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(
            {"deadLetterTargetArn": self.arn(dead_letters), "maxReceiveCount": times})})

    def restart(self, **how):
        self.client.close() if hasattr(self.client, "close") else None
        self.server.restart(**how)
        self.client = client(self.server.sqs)

    def close(self):
        for url in self.queues:
            with contextlib.suppress(Exception):
                self.client.delete_queue(QueueUrl=url)


@pytest.fixture
def sqs(server):
    it = Sqs(server)
    yield it
    it.close()


@pytest.fixture
def refused():
    """with refused("InvalidParameterValue", "words"): the call fails with just that.

    New clients give the code of the Query protocol too, because the broker sends
    the header x-amzn-query-error."""
    @contextlib.contextmanager
    def check(code, words=None, status=400):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            yield
        answer = caught.value.response
        assert answer["Error"]["Code"] in (code if isinstance(code, tuple) else (code,)), answer["Error"]
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
        if words is not None:
            assert words in answer["Error"]["Message"], answer["Error"]["Message"]
    return check
