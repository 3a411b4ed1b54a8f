# The fixtures of the Kafka scenarios.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import time
import warnings

import kafka
import pytest

import apache

NEW = int(kafka.__version__.split(".")[0]) >= 3


def records(consumer, count, timeout_s=20):
    """Poll until `count` records are there; more is as wrong as fewer."""
    found = []
    end = time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < end:
        # Not shorter: kafka-python 3.0.12 loses an assignment that arrives between two polls.
        for some in consumer.poll(timeout_ms=1000).values():
            found.extend(some)
    assert len(found) == count, "%d records within %d s, expected %d" % (len(found), timeout_s, count)
    return found


class Kafka:
    """Clients that end with the test."""

    records = staticmethod(records)

    def __init__(self, server):
        self.server = server
        self.clients = []

    def _keep(self, client):
        self.clients.append(client)
        return client

    def producer(self, **more):
        return self._keep(kafka.KafkaProducer(bootstrap_servers=self.server.kafka, **more))

    def consumer(self, *topics, **more):
        more.setdefault("auto_offset_reset", "earliest")
        return self._keep(kafka.KafkaConsumer(*topics, bootstrap_servers=self.server.kafka, **more))

    def admin(self):
        return self._keep(kafka.KafkaAdminClient(bootstrap_servers=self.server.kafka))

    def create(self, topic, partitions=1, **configs):
        from kafka.admin import NewTopic
        self.admin().create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        return topic

    def assigned(self, topic, partition=0, **more):
        """A consumer without a group, at the beginning of one partition."""
        consumer = self.consumer(**more)
        consumer.assign([kafka.TopicPartition(topic, partition)])
        consumer.seek_to_beginning()
        return consumer

    def restart(self, **how):
        self.close()
        self.server.restart(**how)

    def close(self):
        for client in self.clients:
            with contextlib.suppress(Exception):
                client.close()
        self.clients = []


@pytest.fixture(scope="session")
def java(tmp_path_factory):
    """Starts Apache Kafka's programs, and ours that drive its client."""
    return apache.Java(str(tmp_path_factory.mktemp("java")))


@pytest.fixture
def kafka_(server):
    warnings.simplefilter("ignore", DeprecationWarning)
    it = Kafka(server)
    yield it
    it.close()
