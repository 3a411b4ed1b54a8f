# TLS: the same clients, through listeners that speak it; and who is not let in.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
import uuid
import warnings

import boto3
import kafka
import pika
import pytest
from kafka import TopicPartition

from broker import Broker, BrokerFailed, wait_until
from certificates import Authority

CLIENT = "kafka-python %s, pika %s, boto3 %s" % (kafka.__version__, pika.__version__, boto3.__version__)
CHAPTER = "TLS"
LISTEN = {name + "-tls": "127.0.0.1:0" for name in ("kafka", "amqp", "sqs", "admin")}


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    if "HAWSER_TEST_PEER" in os.environ:
        pytest.skip("about our own listeners")
    it = Authority(tmp_path_factory.mktemp("ca"))
    it.issue("localhost")
    return it


def settings(ca, **more):
    path = os.path.join(ca.folder, "localhost")
    options = []
    for name, value in dict({"tls.certificate": path + ".pem", "tls.key": path + ".key"}, **more).items():
        options += ["--set", "%s=%s" % (name, value)]
    return options


@contextlib.contextmanager
def serving(ca, **more):
    broker = Broker(listen=LISTEN, options=settings(ca, **more))
    with contextlib.closing(broker):
        broker.start()
        yield broker
        assert broker.stop() == 0


@pytest.fixture(scope="module")
def tls(ca):
    with serving(ca) as broker:
        yield broker


def port(broker, name):
    return int(broker.address(name + "-tls").rsplit(":", 1)[1])


def kafka_settings(broker, ca, **more):
    return dict({"bootstrap_servers": "localhost:%d" % port(broker, "kafka"), "security_protocol": "SSL",
                 "ssl_cafile": ca.certificate}, **more)


def exchange(made):
    """Send some records, of several sizes, and read them back."""
    topic = "over-tls-" + uuid.uuid4().hex[:10]
    sent = [b"x" * n for n in (0, 1, 100, 16384, 50000, 900000)] * 3
    with contextlib.closing(kafka.KafkaProducer(acks="all", **made)) as producer:
        for value in sent:
            producer.send(topic, value, partition=0)
        producer.flush()
    with contextlib.closing(kafka.KafkaConsumer(auto_offset_reset="earliest", **made)) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        found = []
        end = time.monotonic() + 20
        while len(found) < len(sent) and time.monotonic() < end:
            for some in consumer.poll(timeout_ms=500).values():
                found += [r.value for r in some]
    assert found == sent


def test_Kafka_records_pass(tls, ca):
    exchange(kafka_settings(tls, ca))


def test_a_Kafka_client_stays_with_the_listener_that_it_came_to(tls, ca):
    with contextlib.closing(kafka.KafkaAdminClient(**kafka_settings(tls, ca))) as admin:
        broker, = admin.describe_cluster()["brokers"]
    assert (broker["host"], broker["port"]) == ("127.0.0.1", port(tls, "kafka"))


def test_SASL_over_TLS_and_signed_requests(ca):
    with serving(ca, default_user="ada", default_pass="secret", **{"sqs.access_key": "AKID", "sqs.secret_key": "word"}) as broker:
        exchange(kafka_settings(broker, ca, security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_plain_username="ada",
                                sasl_plain_password="secret"))
        with contextlib.closing(amqps(broker, ca, pika.PlainCredentials("ada", "secret"))):
            pass
        assert sqs(broker, ca, aws_access_key_id="AKID", aws_secret_access_key="word").list_queues()


def amqps(broker, ca, credentials=pika.PlainCredentials("guest", "guest"), context=None):
    context = context or ssl.create_default_context(cafile=ca.certificate)
    return pika.BlockingConnection(pika.ConnectionParameters(
        "localhost", port(broker, "amqp"), credentials=credentials, ssl_options=pika.SSLOptions(context, "localhost")))


def test_AMQP_messages_pass(tls, ca):
    with contextlib.closing(amqps(tls, ca)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("over-tls-amqp")
        for size in (0, 10, 3000000):
            body = os.urandom(size)
            channel.basic_publish("", "over-tls-amqp", body)
            assert channel.basic_get("over-tls-amqp", auto_ack=True)[2] == body
        channel.queue_delete("over-tls-amqp")


def sqs(broker, ca, **more):
    return boto3.client("sqs", endpoint_url="https://localhost:%d" % port(broker, "sqs"), verify=ca.certificate, **more)


def test_SQS_messages_pass_and_queue_URLs_say_https(tls, ca):
    client = sqs(tls, ca)
    url = client.create_queue(QueueName="over-tls-sqs")["QueueUrl"]
    assert url == "https://localhost:%d/000000000000/over-tls-sqs" % port(tls, "sqs")
    client.send_message(QueueUrl=url, MessageBody="x" * 200000)
    assert client.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "x" * 200000
    client.delete_queue(QueueUrl=url)


def test_health_and_listeners_are_told_over_TLS(tls, ca):
    context = ssl.create_default_context(cafile=ca.certificate)
    where = "https://localhost:%d" % port(tls, "admin")
    with urllib.request.urlopen(where + "/healthz", timeout=5, context=context) as answer:
        assert answer.read() == b"ok\n"
    ask = urllib.request.Request(where + "/api/overview", headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="})
    with urllib.request.urlopen(ask, timeout=5, context=context) as answer:
        told = {(one["protocol"], one["port"]) for one in json.load(answer)["listeners"]}
    assert {("amqp/ssl", port(tls, "amqp")), ("https", port(tls, "admin"))} <= told


def test_the_commands_ask_over_TLS(tls, ca):
    words = [tls.binary, "health", "--server", "https://localhost:%d" % port(tls, "admin")]
    assert subprocess.run(words, env=dict(os.environ, HAWSER_CA_FILE=ca.certificate), timeout=20).returncode == 0
    done = subprocess.run(words, env=dict(os.environ, HAWSER_CA_FILE=""), timeout=20, capture_output=True, text=True)
    assert done.returncode != 0 and "TLS with localhost: " in done.stderr


# -- who is not let in -------------------------------------------------------

def says(broker, words, again=lambda: None):
    """Of handshakes that fail at once only the first is told of; so they are tried `again`."""
    def said():
        again()
        return words in broker.tail(1000)
    wait_until(said, "the log says: " + words)


def test_plain_text_on_a_TLS_port_is_closed_and_told_of(tls):
    def ask():
        with socket.create_connection(("127.0.0.1", port(tls, "sqs")), 5) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while s.recv(1000):
                pass
    says(tls, "the client does not speak TLS, and this listener speaks nothing else", ask)


@pytest.mark.parametrize("name", ["kafka", "amqp", "sqs", "admin"])
def test_TLS_on_a_plain_port_is_closed_and_told_of(tls, name):
    host, number = tls.address(name).split(":")
    with socket.create_connection((host, int(number)), 5) as s, pytest.raises((ssl.SSLError, OSError)):
        ssl.create_default_context().wrap_socket(s, server_hostname="localhost")
    says(tls, "the client speaks TLS, and this listener does not: see %s.tls_listener" % name)


def test_TLS_1_1_is_refused(tls):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", port(tls, "amqp")), 5) as s, pytest.raises(ssl.SSLError, match="(?i)version"):
        context.wrap_socket(s)


def test_a_client_that_does_not_finish_its_handshake_is_closed(tls, ca):
    with socket.create_connection(("127.0.0.1", port(tls, "kafka")), 5) as silent:
        began = time.monotonic()
        silent.sendall(b"\x16\x03\x01")
        exchange(kafka_settings(tls, ca))           # others do not wait for it
        silent.settimeout(20)
        assert silent.recv(100) == b""
        assert time.monotonic() - began > 4.5
    says(tls, "TLS handshake failed: it took more than 5 seconds")


def test_clients_must_show_a_certificate_if_that_is_required(ca, tmp_path):
    guests = Authority(tmp_path / "guests", "guests")
    strangers = Authority(tmp_path / "strangers", "strangers")
    with serving(ca, **{"tls.client_ca": guests.certificate, "tls.client_certificate": "required"}) as broker:
        def context(pair):
            it = ssl.create_default_context(cafile=ca.certificate)
            if pair:
                it.load_cert_chain(*pair)
            return it

        ada = guests.issue("ada")
        with contextlib.closing(amqps(broker, ca, context=context(ada))) as connection:
            assert connection.is_open
        exchange(kafka_settings(broker, ca, ssl_certfile=ada[0], ssl_keyfile=ada[1]))

        def refused(pair=None):
            with pytest.raises(Exception):
                amqps(broker, ca, context=context(pair))

        refused(strangers.issue("eve"))
        says(broker, "the client shows no certificate, and tls.client_certificate = required", refused)


# -- certificates ------------------------------------------------------------

def served(broker):
    return ssl.get_server_certificate(("127.0.0.1", port(broker, "sqs")))


def test_certificates_are_reloaded_at_SIGHUP_and_kept_if_they_are_bad(ca, tmp_path):
    mine = Authority(tmp_path / "mine")
    mine.issue("localhost")
    with serving(mine) as broker, contextlib.closing(amqps(broker, mine)) as connection:
        first = served(broker)
        path, _ = mine.issue("localhost")
        broker.process.send_signal(signal.SIGHUP)
        wait_until(lambda: served(broker) != first, "the new certificate is served")
        second = served(broker)
        with open(path, "w") as f:
            f.write("nothing\n")
        broker.process.send_signal(signal.SIGHUP)
        says(broker, "certificates are not reloaded, those from before stay: tls.certificate = " + path)
        assert served(broker) == second
        connection.channel()                        # who was here before is served on


def test_files_that_do_not_fit_are_refused_at_the_start_in_one_sentence(ca, tmp_path):
    other = Authority(tmp_path / "other").issue("localhost")
    for change, words in (({"tls.certificate": "/nowhere"}, "hawser: tls.certificate = /nowhere: No such file or directory\n"),
                          ({"tls.key": other[1]}, "hawser: tls.key = %s: does not belong to the certificate" % other[1])):
        broker = Broker(listen=LISTEN, options=settings(ca, **change))
        with contextlib.closing(broker):
            with pytest.raises(BrokerFailed):
                broker.start()
            assert words in broker.tail() and broker.tail().count("\n") == 1
