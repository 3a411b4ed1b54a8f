# Crossing protocols: what a message looks like to a reader of another protocol.
#
# One test for each row of the tables in docs/crossing.md.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import base64
import contextlib
import json
import threading
import time
import warnings

import boto3
import kafka
import pika
import pytest
from kafka import TopicPartition

from broker import wait_until

CLIENT = "kafka-python %s, pika %s, boto3 %s" % (kafka.__version__, pika.__version__, boto3.__version__)
CHAPTER = "Crossing protocols"


class All:
    """The three clients at one broker."""

    def __init__(self, server):
        self.server = server
        self.closing = []
        host, port = server.amqp.split(":")
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
        self.closing.append(self.connection.close)
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.sqs = boto3.client("sqs", endpoint_url="http://" + server.sqs)
        self.producer = kafka.KafkaProducer(bootstrap_servers=server.kafka, acks="all")
        self.closing.append(self.producer.close)

    # -- writing ---------------------------------------------------------

    def to_kafka(self, topic, value=b"x", **more):
        return self.producer.send(topic, value, **more).get(timeout=10)

    def to_amqp(self, queue, body=b"x", exchange="", **properties):
        properties.setdefault("delivery_mode", 2)
        self.channel.basic_publish(exchange, queue, body, pika.BasicProperties(**properties), mandatory=True)

    def to_sqs(self, url, body="x", **more):
        return self.sqs.send_message(QueueUrl=url, MessageBody=body, **more)

    # -- reading ---------------------------------------------------------

    def consumer(self, topic, **more):
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.server.kafka, **more)
        self.closing.append(consumer.close)
        consumer.assign([TopicPartition(topic, 0)])
        return consumer

    def from_kafka(self, topic, count=1, timeout_s=10):
        """The last `count` records of the topic."""
        consumer = self.consumer(topic)
        partition = TopicPartition(topic, 0)
        end = consumer.end_offsets([partition])[partition]
        assert end >= count, "only %d records in the log" % end
        consumer.seek(partition, end - count)
        found = []
        limit = time.monotonic() + timeout_s
        while len(found) < count and time.monotonic() < limit:
            for some in consumer.poll(timeout_ms=200).values():
                found.extend(some)
        assert len(found) == count
        return found

    def from_amqp(self, queue, timeout_s=5):
        """(method, properties, body) of the next message, acknowledged."""
        def one():
            got = self.channel.basic_get(queue, auto_ack=True)
            return got if got[0] else None
        return wait_until(one, "a message for AMQP", timeout_s)

    def from_sqs(self, url, wait_s=5):
        got = self.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=wait_s, AttributeNames=["All"],
                                       MessageAttributeNames=["All"]).get("Messages", [])
        assert got, "no message for SQS"
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
        return got[0]

    # -- places ----------------------------------------------------------

    def place(self, name):
        """A topic with a queue over it: all three know it, and Kafka keeps what the queue has settled.  The SQS url."""
        self.producer.partitions_for(name)
        self.channel.queue_declare(name, durable=True)
        return self.url(name)

    def url(self, name):
        return self.sqs.get_queue_url(QueueName=name)["QueueUrl"]

    def topics(self):
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.server.kafka)
        self.closing.append(consumer.close)
        return consumer.topics()

    def sqs_names(self, prefix):
        found = self.sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])
        return {url.rpartition("/")[2] for url in found}

    def close(self):
        for close in reversed(self.closing):
            with contextlib.suppress(Exception):
                close()


@pytest.fixture
def all_(server):
    warnings.simplefilter("ignore", DeprecationWarning)
    it = All(server)
    yield it
    it.close()


# -- names -----------------------------------------------------------------

def test_a_queue_declared_with_AMQP_is_a_topic_and_an_SQS_queue(all_, fresh):
    name = fresh()
    all_.channel.queue_declare(name, durable=True)
    assert name in all_.topics() and name in all_.sqs_names(name)


def test_a_queue_created_with_SQS_is_a_topic_and_an_AMQP_queue(all_, fresh):
    name = fresh()
    all_.sqs.create_queue(QueueName=name)
    assert name in all_.topics()
    all_.channel.queue_declare(name, passive=True)


def test_a_channel_of_AMQP_or_SQS_has_one_partition(all_, fresh):
    one, two = fresh("a"), fresh("s")
    all_.channel.queue_declare(one, durable=True)
    all_.sqs.create_queue(QueueName=two)
    consumer = all_.consumer(one)
    assert consumer.partitions_for_topic(one) == {0} and consumer.partitions_for_topic(two) == {0}


def test_a_topic_is_no_queue_until_somebody_declares_one(all_, fresh):
    name = fresh()
    all_.to_kafka(name)
    assert name not in all_.sqs_names(name)
    all_.channel.queue_declare(name, durable=True)
    assert name in all_.sqs_names(name)


@pytest.mark.parametrize("name", ["with space", "sla/sh", "dot.ted"])
def test_a_name_that_SQS_forbids_is_not_listed_there(all_, fresh, name):
    name = fresh(name)
    all_.channel.queue_declare(name, durable=True)
    assert all(name != listed for listed in all_.sqs_names(name.split()[0].split("/")[0].split(".")[0]))
    all_.channel.queue_delete(name)


def test_a_name_that_Kafka_forbids_is_not_listed_there(all_, fresh):
    name = fresh("with space")
    all_.channel.queue_declare(name, durable=True)
    assert name not in all_.topics()
    all_.channel.queue_delete(name)


@pytest.mark.parametrize("kind", ["exclusive", "auto_delete", "server-named"])
def test_a_temporary_queue_is_seen_by_AMQP_only(all_, fresh, kind):
    name = "" if kind == "server-named" else fresh()
    more = {"exclusive": True} if kind == "server-named" else {kind: True}
    name = all_.channel.queue_declare(name, **more).method.queue
    assert name not in all_.topics() and not all_.sqs_names(name)


def test_a_deleted_queue_is_gone_for_all(all_, fresh):
    name = fresh()
    all_.channel.queue_declare(name, durable=True)      # not on a topic: that would stay
    assert name in all_.topics()
    all_.channel.queue_delete(name)
    assert name not in all_.sqs_names(name)
    wait_until(lambda: name not in all_.topics(), "the topic is gone")


# -- bodies ----------------------------------------------------------------

def test_a_message_of_each_protocol_reaches_the_other_two_with_its_body(all_, fresh):
    name = fresh()
    url = all_.place(name)
    body = json.dumps({"order": "grüße ✓"})
    for write in (lambda: all_.to_kafka(name, body.encode()), lambda: all_.to_amqp(name, body.encode()),
                  lambda: all_.to_sqs(url, body)):
        write()
        assert all_.from_amqp(name)[2] == body.encode()
        write()
        assert all_.from_sqs(url)["Body"] == body
        assert [r.value for r in all_.from_kafka(name, 2)] == [body.encode()] * 2


def test_a_queue_that_is_no_topic_gives_settled_messages_back(all_, fresh):
    name = fresh()
    all_.channel.queue_declare(name, durable=True)
    all_.to_amqp(name, b"one")
    assert [r.value for r in all_.from_kafka(name)] == [b"one"]
    assert all_.from_amqp(name)[2] == b"one"
    consumer, partition = all_.consumer(name), TopicPartition(name, 0)
    wait_until(lambda: consumer.beginning_offsets([partition])[partition] == 1, "the log begins behind it", 5)
    all_.to_amqp(name, b"two")
    assert [r.value for r in all_.from_kafka(name)] == [b"two"]


@pytest.mark.parametrize("source", ["kafka", "amqp"])
def test_bytes_that_are_no_text_reach_SQS_as_base64(all_, fresh, source):
    name = fresh()
    url = all_.place(name)
    body = bytes(range(256))
    all_.to_kafka(name, body) if source == "kafka" else all_.to_amqp(name, body)
    got = all_.from_sqs(url)
    assert base64.b64decode(got["Body"]) == body
    assert got["MessageAttributes"]["BodyEncoding"] == {"DataType": "String", "StringValue": "base64"}


def test_text_reaches_SQS_as_it_is(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_amqp(name, "tab\t line\n ✓ 𝄞".encode())
    got = all_.from_sqs(url)
    assert got["Body"] == "tab\t line\n ✓ 𝄞" and "BodyEncoding" not in got.get("MessageAttributes", {})


def test_a_tombstone_is_an_empty_body_with_a_header(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_kafka(name, None, key=b"k")
    _, properties, body = all_.from_amqp(name)
    assert body == b"" and str(properties.headers["x-kafka-null"]).lower() == "true"
    all_.to_kafka(name, None, key=b"k")
    got = all_.from_sqs(url)
    assert got["Body"] == "" and got["MessageAttributes"]["x-kafka-null"]["StringValue"] == "true"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_records_are_unpacked_for_AMQP_and_SQS(all_, fresh, codec):
    name = fresh()
    url = all_.place(name)
    producer = kafka.KafkaProducer(bootstrap_servers=all_.server.kafka, compression_type=codec, linger_ms=100)
    values = [b"order %d " % n * 30 for n in range(20)]
    for value in values:
        producer.send(name, value)
    producer.flush()
    producer.close()
    assert [all_.from_amqp(name)[2] for _ in range(10)] == values[:10]
    assert [all_.from_sqs(url)["Body"].encode() for _ in range(10)] == values[10:]


# -- headers ---------------------------------------------------------------

def test_scalar_headers_of_AMQP_are_text_in_Kafka(all_, fresh):
    name = fresh()
    all_.place(name)
    all_.to_amqp(name, headers={"text": "ü", "int": 7, "long": 1 << 40, "yes": True, "no": False})
    headers = dict(all_.from_kafka(name)[0].headers)
    assert {k: headers[k] for k in ("text", "int", "long", "yes", "no")} == {
        "text": "ü".encode(), "int": b"7", "long": str(1 << 40).encode(), "yes": b"true", "no": b"false"}


def test_tables_and_arrays_of_AMQP_are_JSON_in_Kafka(all_, fresh):
    name = fresh()
    all_.place(name)
    all_.to_amqp(name, headers={"table": {"a": 1, "b": {"c": "d"}}, "list": [1, "two", True]})
    headers = dict(all_.from_kafka(name)[0].headers)
    assert json.loads(headers["table"]) == {"a": 1, "b": {"c": "d"}}
    assert json.loads(headers["list"]) == [1, "two", True]


def test_headers_of_Kafka_are_strings_in_AMQP_when_they_are_text(all_, fresh):
    name = fresh()
    all_.place(name)
    all_.to_kafka(name, headers=[("text", "ü".encode()), ("raw", b"\xff\x00")])
    headers = all_.from_amqp(name)[1].headers
    assert headers["text"] == "ü" and bytes(headers["raw"]) == b"\xff\x00"


def test_headers_reach_SQS_as_attributes(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_kafka(name, headers=[("text", "ü".encode()), ("raw", b"\xff\x00")])
    got = all_.from_sqs(url)["MessageAttributes"]
    assert got["text"] == {"DataType": "String", "StringValue": "ü"}
    assert got["raw"] == {"DataType": "Binary", "BinaryValue": b"\xff\x00"}


def test_numbers_of_AMQP_are_Numbers_in_SQS(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_amqp(name, headers={"count": 7, "text": "7"})
    got = all_.from_sqs(url)["MessageAttributes"]
    assert got["count"] == {"DataType": "Number", "StringValue": "7"}
    assert got["text"] == {"DataType": "String", "StringValue": "7"}


def test_SQS_is_given_more_than_ten_attributes_when_there_are_more(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_amqp(name, headers={"h%02d" % n: "v" for n in range(15)})
    got = all_.from_sqs(url)["MessageAttributes"]
    assert {"h%02d" % n for n in range(15)} <= set(got)


def test_attributes_of_SQS_are_headers_elsewhere(all_, fresh):
    name = fresh()
    url = all_.place(name)
    attributes = {"kind": {"DataType": "String", "StringValue": "express"},
                  "amount": {"DataType": "Number", "StringValue": "99.9"},
                  "raw": {"DataType": "Binary", "BinaryValue": b"\xff\x00"}}
    all_.to_sqs(url, MessageAttributes=attributes)
    headers = dict(all_.from_kafka(name)[0].headers)
    assert (headers["kind"], headers["amount"], headers["raw"]) == (b"express", b"99.9", b"\xff\x00")
    headers = all_.from_amqp(name)[1].headers
    assert headers["kind"] == "express" and str(headers["amount"]) == "99.9" and bytes(headers["raw"]) == b"\xff\x00"


def test_properties_of_AMQP_are_headers_with_dashes_in_Kafka(all_, fresh):
    name = fresh()
    url = all_.place(name)
    properties = dict(content_type="application/json", content_encoding="identity", correlation_id="c", reply_to="r",
                      message_id="m", type="t", app_id="a", user_id="guest")
    all_.to_amqp(name, **properties)
    headers = dict(all_.from_kafka(name)[0].headers)
    for key, value in properties.items():
        assert headers[key.replace("_", "-")] == value.encode(), key
    got = all_.from_sqs(url)["MessageAttributes"]
    for key, value in properties.items():
        assert got[key.replace("_", "-")]["StringValue"] == value, key


def test_headers_with_the_names_of_properties_become_properties_in_AMQP(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_kafka(name, headers=[("content-type", b"application/json"), ("correlation-id", b"c"), ("message-id", b"m")])
    _, properties, _ = all_.from_amqp(name)
    assert (properties.content_type, properties.correlation_id, properties.message_id) == ("application/json", "c", "m")
    all_.to_sqs(url, MessageAttributes={"content-type": {"DataType": "String", "StringValue": "text/plain"}})
    assert all_.from_amqp(name)[1].content_type == "text/plain"


# -- keys and times --------------------------------------------------------

def test_the_routing_key_is_the_record_key(all_, fresh):
    name, exchange = fresh(), fresh("x")
    all_.place(name)
    all_.channel.exchange_declare(exchange, "topic", durable=True)
    all_.channel.queue_bind(name, exchange, "order.*")
    all_.to_amqp("order.created", exchange=exchange)
    assert all_.from_kafka(name)[0].key == b"order.created"
    all_.channel.exchange_delete(exchange)


def test_the_record_key_is_the_routing_key(all_, fresh):
    name = fresh()
    all_.place(name)
    all_.to_kafka(name, key=b"order.created")
    assert all_.from_amqp(name)[0].routing_key == "order.created"


def test_the_group_of_a_fifo_message_is_the_record_key(all_, fresh):
    name = fresh() + ".fifo"
    url = all_.sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    all_.to_sqs(url, MessageGroupId="customer-7", MessageDeduplicationId="d")
    assert all_.from_kafka(name)[0].key == b"customer-7"
    all_.to_kafka(name, b"from kafka", key=b"customer-8")
    got = {}
    for _ in range(2):
        m = all_.from_sqs(url)
        got[m["Body"]] = m["Attributes"]["MessageGroupId"]
    assert got == {"x": "customer-7", "from kafka": "customer-8"}


def test_the_time_of_the_producer_crosses_and_SQS_tells_the_arrival(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_kafka(name, timestamp_ms=1700000000999)
    assert all_.from_amqp(name)[1].timestamp == 1700000000
    all_.to_amqp(name, timestamp=1700000001)
    assert all_.from_kafka(name)[0].timestamp == 1700000001000
    assert abs(int(all_.from_sqs(url)["Attributes"]["SentTimestamp"]) / 1000 - time.time()) < 60


def test_tracing_crosses(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_sqs(url, MessageSystemAttributes={"AWSTraceHeader": {
        "DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}})
    headers = dict(all_.from_kafka(name)[0].headers)
    assert headers["traceparent"] == b"00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
    all_.from_amqp(name)
    all_.to_kafka(name, headers=[("traceparent", b"00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")])
    assert "Root=1-5759e988-bd862e3fe1be46a994272793" in all_.from_sqs(url)["Attributes"]["AWSTraceHeader"]


# -- sharing ---------------------------------------------------------------

def test_AMQP_and_SQS_workers_compete_for_each_message_and_Kafka_reads_all(all_, fresh):
    name = fresh()
    url = all_.place(name)
    for n in range(60):
        body = "%d" % n
        (lambda: all_.to_kafka(name, body.encode()), lambda: all_.to_amqp(name, body.encode()),
         lambda: all_.to_sqs(url, body))[n % 3]()

    by_sqs = []

    def sqs_worker():
        client = boto3.client("sqs", endpoint_url="http://" + all_.server.sqs)
        while True:
            got = client.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=3).get("Messages", [])
            if not got:
                return
            for m in got:
                by_sqs.append(int(m["Body"]))
                client.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])

    by_amqp = []
    all_.channel.basic_qos(prefetch_count=1)

    def on_message(channel, method, properties, body):
        by_amqp.append(int(body))
        channel.basic_ack(method.delivery_tag)

    worker = threading.Thread(target=sqs_worker, daemon=True)
    all_.channel.basic_consume(name, on_message)
    worker.start()
    wait_until(lambda: all_.connection.process_data_events(time_limit=0.05) or len(by_sqs) + len(by_amqp) >= 60,
               "all are settled", 30)
    worker.join(30)
    assert sorted(by_sqs + by_amqp) == list(range(60))
    assert [int(r.value) for r in all_.from_kafka(name, 60)] == list(range(60))
    assert all_.channel.queue_declare(name, passive=True).method.message_count == 0


def test_reading_with_Kafka_takes_nothing_away(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_sqs(url, "still here")
    for _ in range(3):
        assert all_.from_kafka(name)[0].value == b"still here"
    assert all_.from_sqs(url)["Body"] == "still here"


def test_a_message_in_flight_at_SQS_is_hidden_from_AMQP_and_comes_back(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_kafka(name, b"one")
    got = all_.sqs.receive_message(QueueUrl=url, VisibilityTimeout=1, WaitTimeSeconds=2)["Messages"]
    assert len(got) == 1
    assert all_.channel.basic_get(name) == (None, None, None)
    method, _, body = all_.from_amqp(name)
    assert body == b"one" and method.redelivered


def test_a_message_unacknowledged_at_AMQP_is_hidden_from_SQS_and_comes_back(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_sqs(url, "one")
    tag = all_.channel.basic_get(name)[0].delivery_tag
    assert "Messages" not in all_.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    all_.channel.basic_nack(tag, requeue=True)
    got = all_.from_sqs(url)
    assert got["Body"] == "one" and got["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_new_queue_on_an_old_topic_starts_at_its_end(all_, fresh):
    name = fresh()
    all_.to_kafka(name, b"before")
    url = all_.place(name)
    all_.to_kafka(name, b"after")
    assert all_.from_sqs(url)["Body"] == "after"
    assert [r.value for r in all_.from_kafka(name, 2)] == [b"before", b"after"]


@pytest.mark.parametrize("offset, expected", [("first", [b"0", b"1", b"2", b"3"]), ("last", [b"2", b"3"]),
                                              ("next", [b"3"]), (1, [b"1", b"2", b"3"])],
                         ids=["first", "last", "next", "offset"])
def test_a_new_queue_starts_where_its_declaration_says(all_, fresh, offset, expected):
    name = fresh()
    for n in range(3):
        all_.to_kafka(name, b"%d" % n)
    all_.channel.queue_declare(name, durable=True, arguments={"x-stream-offset": offset})
    all_.to_kafka(name, b"3")
    assert [all_.from_amqp(name)[2] for _ in expected] == expected
    assert all_.channel.basic_get(name) == (None, None, None)


def test_a_stream_is_the_topic_of_that_name(all_, fresh):
    name = fresh()
    all_.channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
    all_.to_kafka(name, b"0", key=b"k")
    all_.to_amqp(name, b"1")
    assert [record.value for record in all_.from_kafka(name, 2)] == [b"0", b"1"]
    all_.channel.basic_qos(prefetch_count=10)
    got = []
    for method, properties, body in all_.channel.consume(name, arguments={"x-stream-offset": "first"}):
        got.append((properties.headers["x-stream-offset"], method.routing_key, body))
        if len(got) == 2:
            break
    assert got == [(0, "k", b"0"), (1, name, b"1")]
    assert name not in str(all_.sqs.list_queues())


def test_a_queue_over_a_compacted_topic_is_given_what_is_left(all_, fresh):
    from kafka.admin import KafkaAdminClient, NewTopic
    name = fresh()
    admin = KafkaAdminClient(bootstrap_servers=all_.server.kafka)
    all_.closing.append(admin.close)
    admin.create_topics([NewTopic(name, 1, 1, topic_configs={"cleanup.policy": "compact", "segment.ms": "100",
                                                             "min.cleanable.dirty.ratio": "0.01"})])
    for n in range(40):
        all_.to_kafka(name, b"v%d" % n, key=b"k%d" % (n % 4))

    def left():
        consumer, partition = all_.consumer(name), TopicPartition(name, 0)
        consumer.seek_to_beginning(partition)
        found = [r.value for some in consumer.poll(timeout_ms=500).values() for r in some]
        return found == [b"v36", b"v37", b"v38", b"v39"]
    wait_until(left, "compaction", 15, 0.3)
    all_.channel.queue_declare(name, durable=True, arguments={"x-stream-offset": "first"})
    assert [all_.from_amqp(name)[2] for _ in range(4)] == [b"v36", b"v37", b"v38", b"v39"]
    assert all_.channel.basic_get(name) == (None, None, None)
    all_.to_amqp(name, b"by AMQP")              # its key is the routing key
    assert all_.from_amqp(name)[2] == b"by AMQP"
    with pytest.raises(all_.sqs.exceptions.ClientError) as caught:
        all_.to_sqs(all_.url(name), "no key")
    assert "without a key" in str(caught.value)


def test_a_queue_on_a_topic_of_many_partitions_is_given_all_of_them(all_, fresh):
    from kafka.admin import NewTopic
    name = fresh()
    admin = kafka.KafkaAdminClient(bootstrap_servers=all_.server.kafka)
    admin.create_topics([NewTopic(name, 3, 1)])
    admin.close()
    all_.place(name)
    for n in range(9):
        all_.to_kafka(name, b"%d" % n, partition=n % 3)
    assert sorted(all_.from_amqp(name)[2] for _ in range(9)) == [b"%d" % n for n in range(9)]


def test_everything_is_still_shared_after_a_restart(all_, fresh):
    name = fresh()
    url = all_.place(name)
    all_.to_kafka(name, b"0")
    all_.to_amqp(name, b"1")
    all_.to_sqs(url, "2")
    assert all_.from_amqp(name)[2] == b"0"
    all_.channel.queue_declare(name, passive=True)      # the settlement has arrived
    all_.close()
    all_.server.restart()

    again = All(all_.server)
    try:
        assert again.from_amqp(name)[2] == b"1"
        assert again.from_sqs(url)["Body"] == "2"
        assert [r.value for r in again.from_kafka(name, 3)] == [b"0", b"1", b"2"]
    finally:
        again.close()


# -- transactions ----------------------------------------------------------

@pytest.mark.skipif(not hasattr(kafka.KafkaProducer, "begin_transaction"), reason="kafka-python 2 has no transactions")
def test_other_protocols_see_a_Kafka_transaction_when_it_is_committed_and_never_when_aborted(all_, fresh):
    name = fresh()
    url = all_.place(name)
    producer = kafka.KafkaProducer(bootstrap_servers=all_.server.kafka, transactional_id=fresh("tx"))
    all_.closing.append(producer.close)
    producer.init_transactions()

    def transact(values):
        producer.begin_transaction()
        for value in values:
            producer.send(name, value)
        producer.flush()

    transact([b"never", b"never"])
    all_.to_amqp(name, b"behind")                       # of no transaction, but it comes behind one
    assert all_.channel.basic_get(name) == (None, None, None)
    producer.abort_transaction()
    assert all_.from_amqp(name)[2] == b"behind"

    transact([b"0", b"1", b"2"])
    assert all_.channel.basic_get(name) == (None, None, None)
    assert not all_.sqs.receive_message(QueueUrl=url).get("Messages")
    producer.commit_transaction()
    assert all_.from_amqp(name)[2] == b"0"
    assert sorted(all_.from_sqs(url)["Body"] for _ in range(2)) == ["1", "2"]
    assert all_.channel.basic_get(name) == (None, None, None)
