# kafka_python.py - the driver of kafka-python, old and new.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import importlib
import re
import time

import kafka
from kafka import TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.structs import OffsetAndMetadata

import protocol
from protocol import Cannot, octets, record, serve

NEW = int(kafka.__version__.split(".")[0]) >= 3
ACKS = {0: 0, 1: 1, -1: "all", None: "all"}
ASSIGNORS = {"range": ("range", "RangePartitionAssignor"), "roundrobin": ("roundrobin", "RoundRobinPartitionAssignor"),
             "sticky": ("sticky.sticky_assignor", "StickyPartitionAssignor"),
             "cooperative-sticky": ("cooperative_sticky", "CooperativeStickyAssignor")}


def assignor(strategy):
    module, name = ASSIGNORS[strategy]
    try:
        return getattr(importlib.import_module("kafka.coordinator.assignors." + module), name)
    except ImportError:
        raise Cannot("it has no such assignor") from None


def to_commit(offset):
    """OffsetAndMetadata has had two and three members."""
    return OffsetAndMetadata(*(offset, "", -1)[:len(OffsetAndMetadata._fields)])


def of(message):
    return record(message.offset, message.key, message.value, message.headers, message.timestamp, message.partition)


def check(said):
    """kafka-python 3 says 'OK', or '[Error 40] ...'."""
    found = re.match(r"\[Error (\d+)\] (.*)", said)
    if found:
        raise errors.for_code(int(found[1]))(found[2])


class Member(protocol.Member):
    def poll(self):
        # Not shorter: kafka-python 3.0.12 loses an assignment that arrives between two polls.
        for some in self.consumer.poll(timeout_ms=300).values():
            self.box.extend(map(of, some))
        self.assigned = sorted(p.partition for p in self.consumer.assignment())

    def offsets(self):
        return {TopicPartition(self.topic, p): to_commit(offset) for p, offset in self.taken.items()}


class Driver:
    def __init__(self):
        self.members, self.transactions, self._admin = {}, {}, None

    def hello(self, address, client_id):
        self.common = {"bootstrap_servers": address, "client_id": client_id}
        return "kafka-python " + kafka.__version__

    @property
    def admin(self):
        if not self._admin:
            self._admin = kafka.KafkaAdminClient(**self.common)
        return self._admin

    def consumer(self, **more):
        return kafka.KafkaConsumer(auto_offset_reset="earliest", enable_auto_commit=False, **self.common, **more)

    # -- administration

    def create(self, topic, partitions=1, configs=None):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])

    def delete(self, topic):
        self.admin.delete_topics([topic])

    def grow(self, topic, partitions):
        self.admin.create_partitions({topic: NewPartitions(partitions)})

    def topics(self):
        return sorted(self.admin.list_topics())

    def partitions(self, topic):
        consumer = self.consumer()
        found = consumer.partitions_for_topic(topic)
        consumer.close()
        return len(found)

    def configs(self, topic):
        if NEW:
            said = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
            found, = said["topic"].values()
            return {name: entry["value"] for name, entry in found.items()}
        answer, = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}

    def alter(self, topic, name, value):
        answer = self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})])
        if NEW:                                             # which tells it in words
            check(answer["topic"][topic])
            return
        for code, text, *_ in answer.resources:
            if code:
                raise errors.for_code(code)(text)

    def trim(self, topic, partition, before):
        if not hasattr(self.admin, "delete_records"):
            raise Cannot("it deletes no records")
        self.admin.delete_records({TopicPartition(topic, partition): before})

    def groups(self):
        if NEW:
            return [g["group_id"] for g in self.admin.list_groups()]
        return [name for name, _ in self.admin.list_consumer_groups()]

    def group(self, group):
        if NEW:
            it = self.admin.describe_groups([group])[group]
            return {"state": it["group_state"], "members": len(it["members"])}
        it, = self.admin.describe_consumer_groups([group])
        return {"state": it.state, "members": len(it.members)}

    def forget(self, group):
        if NEW:
            check(self.admin.delete_groups([group])[group])
            return
        (_, error), = self.admin.delete_consumer_groups([group])
        if error.errno:
            raise error()

    def committed(self, group, topic, partition):
        consumer = self.consumer(group_id=group)
        found = consumer.committed(TopicPartition(topic, partition))
        consumer.close()
        return -1 if found is None else found

    # -- records

    def offset(self, topic, partition, at):
        consumer, where = self.consumer(), TopicPartition(topic, partition)
        if at == "earliest":
            return consumer.beginning_offsets([where])[where]
        if at == "latest":
            return consumer.end_offsets([where])[where]
        found = consumer.offsets_for_times({where: at})[where]
        consumer.close()
        return found.offset if found else -1

    def produce(self, topic, records, codec=None, acks=None, idempotent=False, transaction=None):
        if transaction:
            return self._send(self.transactions[transaction], topic, records)
        if idempotent and not NEW:
            raise Cannot("it has no idempotent producer")
        settings = {"enable_idempotence": idempotent} if NEW else {}
        producer = kafka.KafkaProducer(compression_type=codec, acks=ACKS[acks], linger_ms=10, retries=5,
                                       **settings, **self.common)
        try:
            return self._send(producer, topic, records)
        finally:
            producer.close()

    def _send(self, producer, topic, records):
        futures = [producer.send(topic, octets(r.get("value")), key=octets(r.get("key")), partition=r.get("partition"),
                                 headers=[(name, octets(value)) for name, value in r.get("headers", ())],
                                 timestamp_ms=r.get("timestamp")) for r in records]
        producer.flush()
        return [(f.partition, f.offset) for f in (future.get(20) for future in futures)]

    def read(self, topic, partition, offset, count, wait_ms=10000, committed=False):
        if committed and not NEW:
            raise Cannot("it does not know read_committed")
        consumer = self.consumer(**({"isolation_level": "read_committed"} if committed else {}))
        where = TopicPartition(topic, partition)
        consumer.assign([where])
        consumer.seek(where, offset)
        found, end = [], time.monotonic() + wait_ms / 1000
        while len(found) < count and time.monotonic() < end:
            for some in consumer.poll(timeout_ms=200).values():
                found.extend(map(of, some))
        consumer.close()
        return found[:count]

    # -- groups

    def join(self, member, group, topic, strategy="range", session_ms=6000, transaction=None):
        if strategy == "sticky" and not NEW:
            raise Cannot("its sticky assignor keeps what it remembers in the class, for all members of a process")
        self.members[member] = Member(self.consumer(
            group_id=group, session_timeout_ms=session_ms, heartbeat_interval_ms=300, metadata_max_age_ms=1000,
            partition_assignment_strategy=[assignor(strategy)], **({"isolation_level": "read_committed"} if NEW else {})), topic)

    def assigned(self, member):
        return self.members[member].assigned

    def take(self, member, count, wait_ms=10000):
        return self.members[member].take(count, wait_ms)

    def commit(self, member):
        it = self.members[member]
        it.do(lambda consumer: consumer.commit(it.offsets()))

    def leave(self, member):
        self.members.pop(member).leave(lambda consumer: consumer.close(autocommit=False))

    # -- transactions

    def transactional(self, id, timeout_ms=60000):
        if not NEW:
            raise Cannot("it has no transactions")
        producer = kafka.KafkaProducer(transactional_id=id, transaction_timeout_ms=timeout_ms, acks="all", **self.common)
        producer.init_transactions()
        self.transactions[id] = producer

    def begin(self, id):
        self.transactions[id].begin_transaction()

    def send_offsets(self, id, member):
        it = self.members[member]
        metadata = it.do(lambda consumer: consumer.group_metadata())
        self.transactions[id].send_offsets_to_transaction(it.offsets(), metadata)

    def end(self, id, commit):
        producer = self.transactions[id]
        producer.commit_transaction() if commit else producer.abort_transaction()


def code_of(e):
    code = getattr(e, "errno", None)
    return None if code == -1 else code                     # -1: the library does not know the number that it was sent


serve(Driver(), code_of)
