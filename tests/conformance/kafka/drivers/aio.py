# aio.py - the driver of aiokafka.
#
# The library lives in an event loop; that runs in a thread of its own, and every command is one coroutine in it.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import asyncio
import logging
import threading
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import for_code

from protocol import Cannot, octets, positions, record, serve, take

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}
ACKS = {0: 0, 1: 1, -1: "all", None: "all"}
logging.disable(logging.CRITICAL)


def of(message):
    return record(message.offset, message.key, message.value, message.headers, message.timestamp, message.partition)


def check(code, message=""):
    if code:
        raise for_code(code)(message or "")


class Member:
    def __init__(self, consumer, topic):
        self.consumer, self.topic = consumer, topic
        self.box, self.taken = [], {}

    async def start(self):
        await self.consumer.start()
        self.task = asyncio.ensure_future(self.run())

    async def run(self):
        while True:
            for some in (await self.consumer.getmany(timeout_ms=100)).values():
                self.box.extend(map(of, some))

    async def end(self):
        self.task.cancel()
        await self.consumer.stop()

    def offsets(self):
        return {TopicPartition(self.topic, p): offset for p, offset in self.taken.items()}


class Aio:
    """The commands as coroutines."""

    def __init__(self):
        self.members, self.transactions, self._admin = {}, {}, None

    async def hello(self, address, client_id):
        self.common = {"bootstrap_servers": address, "client_id": client_id}
        return "aiokafka " + aiokafka.__version__

    async def admin(self):
        if not self._admin:
            self._admin = AIOKafkaAdminClient(**self.common)
            await self._admin.start()
        return self._admin

    def consumer(self, *topics, **more):
        return AIOKafkaConsumer(*topics, auto_offset_reset="earliest", enable_auto_commit=False, **self.common, **more)

    # -- administration

    async def create(self, topic, partitions=1, configs=None):
        answer = await (await self.admin()).create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])
        check(answer.topic_errors[0][1], answer.topic_errors[0][-1])

    async def delete(self, topic):
        answer = await (await self.admin()).delete_topics([topic])
        check(answer.topic_error_codes[0][1])

    async def grow(self, topic, partitions):
        answer = await (await self.admin()).create_partitions({topic: NewPartitions(partitions)})
        check(answer.topic_errors[0][1])

    async def topics(self):
        return sorted(await (await self.admin()).list_topics())

    async def partitions(self, topic):
        answer, = await (await self.admin()).describe_topics([topic])
        return len(answer["partitions"])

    async def configs(self, topic):
        answer, = await (await self.admin()).describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}

    async def alter(self, topic, name, value):
        answer, = await (await self.admin()).alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})])
        check(answer.resources[0][0], answer.resources[0][1])

    async def trim(self, topic, partition, before):
        await (await self.admin()).delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})

    async def groups(self):
        return [name for name, _ in await (await self.admin()).list_consumer_groups()]

    async def group(self, group):
        answer, = await (await self.admin()).describe_consumer_groups([group])
        code, _, state, _, _, members = answer.groups[0][:6]
        check(code)
        return {"state": state, "members": len(members)}

    async def forget(self, group):
        raise Cannot("it deletes no groups")

    async def committed(self, group, topic, partition):
        consumer = self.consumer(group_id=group)
        await consumer.start()
        found = await consumer.committed(TopicPartition(topic, partition))
        await consumer.stop()
        return -1 if found is None else found

    # -- records

    async def offset(self, topic, partition, at):
        consumer, where = self.consumer(), TopicPartition(topic, partition)
        await consumer.start()
        try:
            if at == "earliest":
                return (await consumer.beginning_offsets([where]))[where]
            if at == "latest":
                return (await consumer.end_offsets([where]))[where]
            found = (await consumer.offsets_for_times({where: at}))[where]
            return found.offset if found else -1
        finally:
            await consumer.stop()

    async def produce(self, topic, records, codec=None, acks=None, idempotent=False, transaction=None):
        if transaction:
            return await self._send(self.transactions[transaction], topic, records)
        producer = AIOKafkaProducer(compression_type=codec, acks=ACKS[acks], enable_idempotence=idempotent, linger_ms=10,
                                    max_request_size=2000000, **self.common)
        await producer.start()
        try:
            return await self._send(producer, topic, records)
        finally:
            await producer.stop()

    async def _send(self, producer, topic, records):
        futures = [await producer.send(topic, octets(r.get("value")), key=octets(r.get("key")), partition=r.get("partition"),
                                       headers=[(name, octets(value)) for name, value in r.get("headers", ())],
                                       timestamp_ms=r.get("timestamp")) for r in records]
        placed = [await future for future in futures]
        return [(it.partition, it.offset) if it else (-1, -1) for it in placed]

    async def read(self, topic, partition, offset, count, wait_ms=10000, committed=False):
        consumer = self.consumer(isolation_level="read_committed" if committed else "read_uncommitted")
        where = TopicPartition(topic, partition)
        await consumer.start()
        consumer.assign([where])
        consumer.seek(where, offset)
        found, end = [], time.monotonic() + wait_ms / 1000
        while len(found) < count and time.monotonic() < end:
            for some in (await consumer.getmany(where, timeout_ms=100, max_records=count - len(found))).values():
                found.extend(map(of, some))
        await consumer.stop()
        return found

    # -- groups

    async def join(self, member, group, topic, strategy="range", session_ms=6000, transaction=None):
        if strategy not in ASSIGNORS:
            raise Cannot("it has no such assignor")
        it = Member(self.consumer(topic, group_id=group, session_timeout_ms=session_ms, heartbeat_interval_ms=300,
                                  metadata_max_age_ms=1000, isolation_level="read_committed",
                                  partition_assignment_strategy=[ASSIGNORS[strategy]]), topic)
        self.members[member] = it
        await it.start()

    async def assigned(self, member):
        return sorted(p.partition for p in self.members[member].consumer.assignment())

    async def commit(self, member):
        it = self.members[member]
        await it.consumer.commit(it.offsets())

    async def leave(self, member):
        await self.members.pop(member).end()

    # -- transactions

    async def transactional(self, id, timeout_ms=60000):
        producer = AIOKafkaProducer(transactional_id=id, transaction_timeout_ms=timeout_ms, **self.common)
        await producer.start()
        self.transactions[id] = producer

    async def begin(self, id):
        await self.transactions[id].begin_transaction()

    async def send_offsets(self, id, member):
        it = self.members[member]
        await self.transactions[id].send_offsets_to_transaction(it.offsets(), it.consumer._group_id)

    async def end(self, id, commit):
        producer = self.transactions[id]
        await (producer.commit_transaction() if commit else producer.abort_transaction())


class Driver:
    """The commands, each waiting for its coroutine."""

    def __init__(self):
        self.aio, self.loop = Aio(), asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def __getattr__(self, name):
        coroutine = getattr(self.aio, name)
        return lambda **asked: asyncio.run_coroutine_threadsafe(coroutine(**asked), self.loop).result(40)

    def take(self, member, count, wait_ms=10000):
        it = self.aio.members[member]
        taken = take(it.box, count, wait_ms)
        it.taken.update(positions(taken))
        return taken


def code_of(e):
    code = getattr(e, "errno", None)
    return None if code == -1 else code                     # -1: the library does not know the number that it was sent


serve(Driver(), code_of)
