# confluent.py - the driver of confluent-kafka, which is librdkafka: that of the distribution, and the newest.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

import confluent_kafka
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

import protocol
from protocol import Cannot, octets, record, serve

VERSION = getattr(confluent_kafka, "__version__", None) or confluent_kafka.version()[0]
STATES = {"STABLE": "Stable", "EMPTY": "Empty"}


def of(message):
    kind, timestamp = message.timestamp()
    return record(message.offset(), message.key(), message.value(), message.headers(), timestamp if kind else None,
                  message.partition())


def all_of(futures):
    return [future.result(20) for future in futures.values()]


class Member(protocol.Member):
    def poll(self):
        message = self.consumer.poll(0.05)
        if message and not message.error():
            self.box.append(of(message))
        self.assigned = sorted(p.partition for p in self.consumer.assignment())

    def offsets(self):
        return [TopicPartition(self.topic, p, offset) for p, offset in self.taken.items()]


class Driver:
    def __init__(self):
        self.members, self.transactions, self._admin = {}, {}, None

    def hello(self, address, client_id):
        self.common = {"bootstrap.servers": address, "client.id": client_id, "log_level": 0}
        return "confluent-kafka %s with librdkafka %s" % (VERSION,
                                                         confluent_kafka.libversion()[0])

    @property
    def admin(self):
        if not self._admin:
            self._admin = AdminClient(self.common)
        return self._admin

    def consumer(self, group="none", **more):
        settings = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **self.common}
        settings.update(more)
        return confluent_kafka.Consumer(settings)

    # -- administration

    def create(self, topic, partitions=1, configs=None):
        all_of(self.admin.create_topics([NewTopic(topic, partitions, 1, config=configs or {})]))

    def delete(self, topic):
        all_of(self.admin.delete_topics([topic]))

    def grow(self, topic, partitions):
        all_of(self.admin.create_partitions([NewPartitions(topic, partitions)]))

    def topics(self):
        return sorted(self.admin.list_topics(timeout=10).topics)

    def partitions(self, topic):
        return len(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)

    def configs(self, topic):
        found, = all_of(self.admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))
        return {name: entry.value for name, entry in found.items()}

    def alter(self, topic, name, value):
        if not hasattr(self.admin, "incremental_alter_configs"):
            all_of(self.admin.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={name: value})]))
            return
        entry = confluent_kafka.admin.ConfigEntry(
            name, value, incremental_operation=confluent_kafka.admin.AlterConfigOpType.SET)
        all_of(self.admin.incremental_alter_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])]))

    def trim(self, topic, partition, before):
        if not hasattr(self.admin, "delete_records"):
            raise Cannot("it deletes no records")
        all_of(self.admin.delete_records([TopicPartition(topic, partition, before)]))

    def groups(self):
        return [g.id for g in self.admin.list_groups(timeout=10)]

    def group(self, group):
        if not hasattr(self.admin, "describe_consumer_groups"):
            it, = self.admin.list_groups(group, timeout=10)
            return {"state": it.state, "members": len(it.members)}
        it, = all_of(self.admin.describe_consumer_groups([group]))
        return {"state": STATES.get(it.state.name, it.state.name), "members": len(it.members)}

    def forget(self, group):
        if not hasattr(self.admin, "delete_consumer_groups"):
            raise Cannot("it deletes no groups")
        all_of(self.admin.delete_consumer_groups([group]))

    def committed(self, group, topic, partition):
        consumer = self.consumer(group)
        found, = consumer.committed([TopicPartition(topic, partition)], timeout=10)
        consumer.close()
        return max(found.offset, -1)

    # -- records

    def offset(self, topic, partition, at):
        consumer = self.consumer()
        try:
            if at in ("earliest", "latest"):
                return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[at == "latest"]
            found, = consumer.offsets_for_times([TopicPartition(topic, partition, at)], timeout=10)
            return max(found.offset, -1)
        finally:
            consumer.close()

    def produce(self, topic, records, codec=None, acks=None, idempotent=False, transaction=None):
        if transaction:
            return self._send(self.transactions[transaction], topic, records)
        settings = {"compression.type": codec or "none", "enable.idempotence": idempotent, "linger.ms": 10,
                    "message.timeout.ms": 20000, "message.max.bytes": 2000000, **self.common}
        if acks is not None:
            settings["acks"] = acks
        return self._send(confluent_kafka.Producer(settings), topic, records)

    def _send(self, producer, topic, records):
        placed = [None] * len(records)

        def put(n):
            def delivered(error, message):
                # Without acks there is no offset to tell.
                placed[n] = error or (message.partition(), -1 if message.offset() is None else message.offset())
            return delivered

        for n, r in enumerate(records):
            more = {name: r[name] for name in ("timestamp", "partition") if r.get(name) is not None}
            headers = [(name, octets(value)) for name, value in r.get("headers", ())]
            producer.produce(topic, octets(r.get("value")), key=octets(r.get("key")), headers=headers, on_delivery=put(n),
                             **more)
        producer.flush(20)
        for it in placed:
            if it is None or not isinstance(it, tuple):
                raise KafkaException(it)
        return placed

    def read(self, topic, partition, offset, count, wait_ms=10000, committed=False):
        consumer = self.consumer(**{"isolation.level": "read_committed" if committed else "read_uncommitted"})
        consumer.assign([TopicPartition(topic, partition, offset)])
        found, end = [], time.monotonic() + wait_ms / 1000
        while len(found) < count and time.monotonic() < end:
            for message in consumer.consume(count - len(found), timeout=0.1):
                if message.error():
                    raise KafkaException(message.error())
                found.append(of(message))
        consumer.close()
        return found

    # -- groups

    def join(self, member, group, topic, strategy="range", session_ms=6000, transaction=None):
        if strategy == "sticky":
            raise Cannot("it knows the cooperative sticky assignor only")
        self.members[member] = Member(self.consumer(group, **{
            "session.timeout.ms": session_ms, "heartbeat.interval.ms": 300, "topic.metadata.refresh.interval.ms": 1000,
            "partition.assignment.strategy": strategy, "isolation.level": "read_committed"}), topic)

    def assigned(self, member):
        return self.members[member].assigned

    def take(self, member, count, wait_ms=10000):
        return self.members[member].take(count, wait_ms)

    def commit(self, member):
        it = self.members[member]
        it.do(lambda consumer: consumer.commit(offsets=it.offsets(), asynchronous=False))

    def leave(self, member):
        self.members.pop(member).leave(lambda consumer: consumer.close())

    # -- transactions

    def transactional(self, id, timeout_ms=60000):
        producer = confluent_kafka.Producer({"transactional.id": id, "transaction.timeout.ms": timeout_ms, **self.common})
        producer.init_transactions(20)
        self.transactions[id] = producer

    def begin(self, id):
        self.transactions[id].begin_transaction()

    def send_offsets(self, id, member):
        it = self.members[member]
        metadata = it.do(lambda consumer: consumer.consumer_group_metadata())
        self.transactions[id].send_offsets_to_transaction(it.offsets(), metadata, 20)

    def end(self, id, commit):
        producer = self.transactions[id]
        producer.commit_transaction(20) if commit else producer.abort_transaction(20)


def code_of(e):
    error = e.args[0] if isinstance(e, KafkaException) and e.args else None
    return error.code() if hasattr(error, "code") else None


serve(Driver(), code_of)
