# SQS below what programs really use: kombu and Celery (which make requests of their own, past boto3), and sqs-consumer.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os

import boto3
import pytest

kombu = pytest.importorskip("kombu")
celery = pytest.importorskip("celery")
from celery.contrib.testing.worker import start_worker  # noqa: E402

from broker import ROOT  # noqa: E402
from pipe import Driver  # noqa: E402

CHAPTER = "SQS, every client"


def transport(server, prefix):
    return "sqs://local:local@%s//" % server.sqs, {"region": "us-east-1", "is_secure": False, "queue_name_prefix": prefix + "-",
                                                   "wait_time_seconds": 1, "polling_interval": 0.1}


@pytest.fixture
def named(request):
    """A version for the table's column."""
    def name(text):
        request.node.client = text
    return name


def test_kombu_puts_and_gets(server, fresh, named):
    named("kombu " + kombu.__version__)
    url, options = transport(server, fresh())
    with kombu.Connection(url, transport_options=options) as connection:
        queue = connection.SimpleQueue("orders")
        for n in range(3):
            queue.put({"order": n})
        got = []
        for _ in range(3):
            message = queue.get(block=True, timeout=10)
            got.append(message.payload["order"])
            message.ack()
        assert sorted(got) == [0, 1, 2]
        with pytest.raises(queue.Empty):
            queue.get(block=True, timeout=1.5)
        queue.close()


def test_celery_runs_tasks(server, fresh, named):
    named("Celery " + celery.__version__)
    url, options = transport(server, fresh())
    app = celery.Celery("t", broker=url)
    app.conf.update(broker_transport_options=options, worker_hijack_root_logger=False, broker_connection_retry_on_startup=False,
                    task_default_queue="work", worker_enable_remote_control=False)
    done = []

    @app.task(name="add")
    def add(a, b):
        done.append(a + b)

    for n in range(5):
        add.delay(n, 1)
    add.apply_async((10, 10), countdown=1)
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="error", shutdown_timeout=20):
        from broker import wait_until
        wait_until(lambda: sorted(done) == [1, 2, 3, 4, 5, 20], "all tasks have run", 30)


def test_sqs_consumer_handles_messages(server, fresh, named):
    driver = Driver(["node", os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers", "node", "driver.js"), "consumer"],
                    server.sqs, cwd=os.path.join(ROOT, "build", "drivers", "sqs-node"))
    named(driver.name)
    client = boto3.client("sqs", endpoint_url="http://" + server.sqs)
    url = client.create_queue(QueueName=fresh())["QueueUrl"]
    for n in range(12):
        client.send_message(QueueUrl=url, MessageBody=str(n))
    bodies = driver.do("consume", queue=url, count=12, wait_ms=20000)
    assert sorted(bodies, key=int) == [str(n) for n in range(12)]
    assert client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"])[
        "Attributes"] == {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}
    driver.close()
