# clients.py - the three protocols as scenario.py and promises.py need them: small, and saying what they got.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import hashlib
import http.client
import json
import os
import sys
import time

import confluent_kafka
import pika
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker, BrokerFailed, wait_until  # noqa: E402,F401
from kafka_raw import KafkaRaw, batch  # noqa: E402,F401

FAKETIME = "/usr/lib/%s-linux-gnu/faketime/libfaketimeMT.so.1" % os.uname().machine


class TimedBroker(Broker):
    """A broker to whom it is a certain time when it starts."""

    def set_time(self, time_s):
        there = time.strftime("@%Y-%m-%d %H:%M:%S", time.gmtime(time_s))
        self.wrap = ["env", "TZ=UTC", "LD_PRELOAD=" + FAKETIME, "FAKETIME=" + there, "FAKETIME_DONT_FAKE_MONOTONIC=1"]


# ------------------------------------------------------------------------------------------------------------- Kafka ----

def now_ms():
    return int(time.time() * 1000)


def create_topic(broker, topic, partitions, **configs):
    admin = AdminClient({"bootstrap.servers": broker.kafka, "log_level": 0})
    admin.create_topics([NewTopic(topic, partitions, 1, config=configs)])[topic].result(20)


def produce(broker, records, time_ms=None, **settings):
    """records: (topic, partition, key, value, headers).  All are acknowledged when it returns."""
    errors = []
    producer = confluent_kafka.Producer(dict({"bootstrap.servers": broker.kafka, "log_level": 0, "acks": "all",
                                              "linger.ms": 5}, **settings))
    for topic, partition, key, value, headers in records:
        producer.produce(topic, value, key, partition, headers=headers, timestamp=time_ms or now_ms(),
                         on_delivery=lambda error, _: errors.append(error) if error else None)
        producer.poll(0)
    assert producer.flush(60) == 0 and not errors, errors


def transactions(broker, topic, what):
    """what: of each transaction whether it commits, how many records it has, and a group's offset that is part of it."""
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "log_level": 0, "transactional.id": "books"})
    producer.init_transactions(30)
    for number, (commits, records, offset) in enumerate(what):
        producer.begin_transaction()
        for n in range(records):
            producer.produce(topic, b"%d of transaction %d" % (n, number), partition=0)
        if offset:
            group, of, partition, at = offset
            reader = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": group, "log_level": 0})
            producer.send_offsets_to_transaction([confluent_kafka.TopicPartition(of, partition, at)],
                                                 reader.consumer_group_metadata(), 30)
            reader.close()
        if commits:
            producer.commit_transaction(30)
        else:
            producer.flush(30)
            producer.abort_transaction(30)


def read_partition(broker, topic, partition):
    """Every record, as a line of JSON each."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "reader", "log_level": 0,
                                         "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    where = confluent_kafka.TopicPartition(topic, partition, confluent_kafka.OFFSET_BEGINNING)
    lines = []
    try:
        _, end = consumer.get_watermark_offsets(where, timeout=20)
        consumer.assign([where])
        limit, at = time.monotonic() + 30, 0
        while at < end and time.monotonic() < limit:
            for m in consumer.consume(500, timeout=0.05):
                assert m.error() is None, m.error()
                lines.append(json.dumps([m.offset(), repr(m.key()), repr(m.value()), repr(m.headers()), m.timestamp()[1]]))
                at = m.offset() + 1
        assert at == end, "%s/%d: read up to %d of %d" % (topic, partition, at, end)
    finally:
        consumer.close()
    return lines


def digest(lines):
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def group_offset(broker, group, topic, partition):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": group, "log_level": 0})
    try:
        return consumer.committed([confluent_kafka.TopicPartition(topic, partition)], timeout=20)[0].offset
    finally:
        consumer.close()


def commit_offset(broker, group, topic, partition, offset):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": group, "log_level": 0,
                                         "enable.auto.commit": False})
    try:
        where = confluent_kafka.TopicPartition(topic, partition, offset)
        for done in consumer.commit(offsets=[where], asynchronous=False):
            assert done.error is None, done.error
    finally:
        consumer.close()


# -------------------------------------------------------------------------------------------------------------- AMQP ----

class Amqp:
    """A connection with one channel in confirm mode."""

    def __init__(self, broker):
        host, port = broker.amqp.split(":")
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), heartbeat=0))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.connection.is_open:
            self.connection.close()

    def abandon(self):
        """The broker has gone."""
        with contextlib.suppress(Exception):
            self.connection.close()

    def publish(self, exchange, key, body, headers=None, **properties):
        self.channel.basic_publish(exchange, key, body.encode(),
                                   pika.BasicProperties(delivery_mode=2, headers=headers, **properties))

    def take_all(self, queue):
        """Everything that is ready, in order, left unacknowledged."""
        found = []
        for method, properties, body in iter(lambda: self.channel.basic_get(queue), (None, None, None)):
            found.append((method.delivery_tag, message_of(properties, body)))
        return found


def message_of(properties, body):
    headers = dict(properties.headers or {})
    deaths = [{k: v for k, v in death.items() if k != "time"} for death in headers.pop("x-death", [])]
    for name in [n for n in headers if n.startswith("x-first-death") or n.startswith("x-last-death")]:
        del headers[name]
    return {"body": body.decode(), "headers": headers, "priority": properties.priority, "type": properties.type,
            "deaths": deaths}


# --------------------------------------------------------------------------------------------------------------- SQS ----

class Sqs:
    def __init__(self, broker):
        self.connection = http.client.HTTPConnection(broker.sqs, timeout=20)

    def __call__(self, action, **parameters):
        self.connection.request("POST", "/", json.dumps(parameters), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action})
        answer = self.connection.getresponse()
        body = json.loads(answer.read() or b"{}")
        assert answer.status == 200, "%s: %s" % (action, body)
        return body

    def receive_all(self, queue, visibility_s):
        found = []
        while True:
            got = self("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=visibility_s,
                       MessageAttributeNames=["All"], AttributeNames=["All"]).get("Messages", [])
            if not got:
                return found
            found += got
