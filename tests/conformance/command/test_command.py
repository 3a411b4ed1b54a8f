# The command: how `hawser serve` starts, refuses to start, and ends.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import signal
import socket
import subprocess
import threading
import time

import boto3
import botocore.config
import kafka
import pika
import pytest

from broker import Broker, BrokerFailed, wait_until

CLIENT = "the shell"
CHAPTER = "The command"


@pytest.fixture
def make():
    """Brokers of this test, which are gone afterwards."""
    brokers = []

    def one(**more):
        broker = Broker(**more)
        brokers.append(broker)
        return broker
    yield one
    for broker in brokers:
        broker.close()


def reaches(address):
    host, port = address.split(":")
    with socket.socket() as s:
        s.settimeout(2)
        return s.connect_ex((host, int(port))) == 0


def serve(*options, timeout_s=10):
    binary = Broker().binary
    return subprocess.run([binary, "serve"] + list(options), capture_output=True, text=True, timeout=timeout_s)


def test_it_names_its_listeners_and_then_says_ready(make):
    broker = make().start()
    assert [line.split()[0] for line in broker.said] == ["kafka", "amqp", "sqs", "admin", "ready"]
    for name in ("kafka", "amqp", "sqs", "admin"):
        assert broker.address(name).rpartition(":")[2] != "0" and reaches(broker.address(name))


@pytest.mark.parametrize("name", ["kafka", "amqp", "sqs", "admin"])
def test_a_listener_may_be_left_out(make, name):
    broker = make(listen={name: "off"}).start()
    assert name not in [line.split()[0] for line in broker.said]
    assert len(broker.said) == 4


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(make, how):
    broker = make().start()
    broker.process.send_signal(how)
    assert broker.process.wait(5) == 0
    broker.process = None


def test_an_idle_broker_ends_at_once(make):
    broker = make().start()
    time.sleep(1.5)
    began = time.monotonic()
    broker.process.send_signal(signal.SIGTERM)
    assert broker.process.wait(5) == 0
    assert time.monotonic() - began < 2
    broker.process = None


def test_it_ends_in_time_with_clients_connected(make):
    broker = make().start()
    sockets = [socket.create_connection(broker.address(n).split(":"), 5) for n in ("kafka", "amqp", "sqs")]
    assert broker.stop(timeout_s=5) == 0
    for s in sockets:
        s.close()


class Load(threading.Thread):
    """One writer that goes on, and over, until it is told to end."""

    def __init__(self, write):
        super().__init__(daemon=True)
        self.write, self.ended, self.count = write, threading.Event(), 0
        self.start()

    def run(self):
        while not self.ended.is_set():
            try:
                for _ in self.write():
                    self.count += 1
                    if self.ended.is_set():
                        return
            except Exception:           # the broker is ending or not back yet; try again
                self.ended.wait(0.02)


@pytest.mark.timeout(180)
def test_it_ends_well_under_load_every_time(make):
    broker = make().start()

    def amqp():
        host, port = broker.amqp.split(":")
        connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), socket_timeout=2))
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("load", durable=True)
        channel.basic_consume("load", lambda ch, method, *_: ch.basic_ack(method.delivery_tag))
        while True:
            channel.basic_publish("", "load", b"x", pika.BasicProperties(delivery_mode=2))
            connection.process_data_events(time_limit=0)
            yield

    def sqs():
        client = boto3.client("sqs", endpoint_url="http://" + broker.sqs, config=botocore.config.Config(
            retries={"max_attempts": 0}, connect_timeout=2, read_timeout=5))
        url = client.create_queue(QueueName="load-sqs")["QueueUrl"]
        while True:
            client.send_message(QueueUrl=url, MessageBody="x")
            for m in client.receive_message(QueueUrl=url).get("Messages", []):
                client.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
            yield

    def kafka_group():
        consumer = kafka.KafkaConsumer("load-kafka", bootstrap_servers=broker.kafka, group_id="load",
                                       auto_commit_interval_ms=50, consumer_timeout_ms=1000)
        producer = kafka.KafkaProducer(bootstrap_servers=broker.kafka, acks="all")
        try:
            while True:
                producer.send("load-kafka", b"x").get(timeout=2)
                consumer.poll(timeout_ms=1)
                yield
        finally:
            producer.close(timeout=1)

    loads = [Load(write) for write in (amqp, sqs, kafka_group)]
    try:
        for _ in range(15):
            before = [load.count for load in loads]
            wait_until(lambda: all(load.count > n for load, n in zip(loads, before)), "everybody writes again", 30)
            assert broker.stop(timeout_s=5) == 0, broker.tail()
            broker.start()
    finally:
        for load in loads:
            load.ended.set()


def test_it_is_up_quickly(make):
    broker = make()
    began = time.monotonic()
    broker.start()
    assert time.monotonic() - began < 1


def test_the_admin_listener_answers_health_and_metrics(make):
    broker = make().start()
    assert broker.get("/healthz")
    metrics = broker.get("/metrics")
    names = [line for line in metrics.splitlines() if line and not line.startswith("#")]
    assert names and all(len(line.split()) >= 2 for line in names)
    assert "# TYPE" in metrics


@pytest.mark.parametrize("options", [["--colour", "blue"], ["--shards", "many"], ["--shards", "65"],
                                     ["--kafka", "nonsense"], ["--kafka", "127.0.0.1:99999"], ["--config", "/no/such/file"]],
                         ids=lambda o: " ".join(o))
def test_a_wrong_option_is_one_sentence_and_a_failure(options, tmp_path):
    ended = serve("--data", str(tmp_path / "d"), *options)
    assert ended.returncode not in (0, None) and ended.returncode > 0
    assert len(ended.stderr.strip().splitlines()) == 1 and options[0].lstrip("-") in ended.stderr or options[-1] in ended.stderr


@pytest.mark.parametrize("name", ["kafka", "amqp", "sqs", "admin"])
def test_a_port_in_use_is_one_sentence_and_a_failure(make, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerFailed) as failed:
            make(listen={name: "127.0.0.1:%d" % port}).start()
    assert str(port) in str(failed.value) and "in use" in str(failed.value)


def test_a_data_directory_that_is_held_is_one_sentence_and_a_failure(make):
    first = make().start()
    with pytest.raises(BrokerFailed) as failed:
        make(data=first.data).start()
    assert first.data in str(failed.value)
    assert first.running()


def test_a_data_directory_is_free_again_after_kill_9(make):
    broker = make().start()
    broker.kill9()
    broker.start()


def test_a_data_directory_that_cannot_be_written_is_a_failure(make, tmp_path):
    path = tmp_path / "a file"
    path.write_text("in the way")
    with pytest.raises(BrokerFailed) as failed:
        make(data=str(path)).start()
    assert str(path) in str(failed.value)


def test_no_temporary_file_or_process_is_left_behind(make, tmp_path):
    broker = make(data=str(tmp_path / "d")).start()
    pid = broker.process.pid
    broker.stop()
    wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the process is gone")
    assert os.listdir(tmp_path) == ["d"]
