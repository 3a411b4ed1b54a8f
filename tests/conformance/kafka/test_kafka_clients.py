# Kafka through every client library: each scenario is told once, and a driver of each library says it in its own words
# (drivers/README.md).  What passes is read on its way, too, so that docs/compatibility.md can tell which client asks
# for which API in which version.
#
#   HAWSER_TEST_CLIENTS     names of some clients (clients.py), with spaces between: only those
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import time

import pytest

from broker import Broker, wait_until
from census import Census
from clients import COMMANDS
from peer import Peer
from pipe import Driver, Refused

CHAPTER = "Kafka, every client"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC, INVALID_CONFIG, TOO_LARGE, INVALID_RECORD = 36, 3, 40, 10, 87


# -- the broker, and the drivers of the run ---------------------------------

@pytest.fixture(scope="session")
def _server():
    """A broker that sends its clients through the census."""
    if "HAWSER_TEST_PEER" in os.environ:
        yield Peer()
        return
    broker = Broker()
    broker.name = "hawser"
    census = Census(lambda: broker.kafka)
    broker.options += ["--set", "kafka.advertised=" + census.address]
    broker.start()
    broker.census = census
    yield broker
    census.close()
    if broker.running():
        assert broker.stop() == 0
    broker.close()


@pytest.fixture(scope="session")
def drivers(_server):
    started = {}
    yield started
    for driver in started.values():
        driver.close()
    if hasattr(_server, "census"):
        record(_server.census.seen, {name: driver.name for name, driver in started.items()})


def record(seen, names):
    """A line for each client, API and version."""
    path = os.environ.get("HAWSER_TEST_RESULTS")
    if path:
        with open(path + ".census", "a") as f:
            for client, key, version in sorted(seen):
                name = names.get(client.partition("/")[0])      # a driver may number its clients: kafka-go/one
                if name:
                    f.write(json.dumps({"client": name, "api": key, "version": version}) + "\n")


def chosen():
    """The clients, each in a group of its own: groups run side by side."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name))
            for name in os.environ.get("HAWSER_TEST_CLIENTS", "").split() or COMMANDS]


@pytest.fixture(params=chosen())
def client(request, server, drivers):
    """A driver; one that a scenario has hung is started again."""
    name = request.param
    if name not in drivers or not drivers[name].alive():
        drivers[name] = start(name, server)
    request.node.client = drivers[name].name
    return drivers[name]


def start(name, server):
    return Driver(COMMANDS[name], server.census.address if hasattr(server, "census") else server.kafka, client_id=name)


# -- words of the scenarios -------------------------------------------------

def values(records):
    return [r["value"] for r in records]


def some(count, **more):
    return [{"key": "k%d" % n, "value": "v%d" % n, **more} for n in range(count)]


def refused(code, command, **arguments):
    with pytest.raises(Refused) as caught:
        command(**arguments)
    assert caught.value.code in (code, None), caught.value


def patiently(command, **arguments):
    """For the first word after a restart: some libraries leave it to their caller to say it again on a new connection."""
    end = time.monotonic() + 20
    while True:
        try:
            return command(**arguments)
        except Refused:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def seen_by(listing, name, there=True):
    wait_until(lambda: (name in listing()) == there, "%s is %s" % (name, "listed" if there else "gone"))


# -- records ----------------------------------------------------------------

@pytest.mark.parametrize("codec", CODECS)
def test_batches_of_every_compression_come_back(client, fresh, codec):
    topic = fresh()
    client.create(topic=topic)
    records = [{"key": "k%d" % n, "value": "order %d " % n * 20, "partition": 0} for n in range(500)]
    assert client.produce(topic=topic, records=records, codec=codec if codec != "none" else None) \
        == [[0, n] for n in range(500)]
    got = client.read(topic=topic, partition=0, offset=0, count=500)
    assert [(r["key"], r["value"], r["offset"]) for r in got] \
        == [(r["key"], r["value"], n) for n, r in enumerate(records)]


@pytest.mark.parametrize("acks", [0, 1, -1], ids=["0", "1", "all"])
def test_every_level_of_acks_arrives(client, fresh, acks):
    topic = fresh()
    client.create(topic=topic)
    placed = client.produce(topic=topic, records=some(20, partition=0), acks=acks)
    assert acks == 0 or placed == [[0, n] for n in range(20)]
    assert values(client.read(topic=topic, partition=0, offset=0, count=20)) == ["v%d" % n for n in range(20)]


def test_keys_headers_and_timestamps_come_back(client, fresh):
    topic = fresh()
    client.create(topic=topic)
    headers = [["empty", ""], ["trace", "\x00\x01"], ["ünï", "cödé"]]      # sorted: some libraries keep a map
    client.produce(topic=topic, records=[{"key": "k", "value": "v", "headers": headers, "timestamp": 1700000000123, "partition": 0}])
    record, = client.read(topic=topic, partition=0, offset=0, count=1)
    assert (record["key"], record["value"], record["timestamp"]) == ("k", "v", 1700000000123)
    assert record["headers"] == headers


def test_a_tombstone_is_not_an_empty_value(client, fresh):
    topic = fresh()
    client.create(topic=topic)
    client.produce(topic=topic, records=[{"key": "a", "value": None, "partition": 0}, {"key": "b", "value": "", "partition": 0}])
    assert values(client.read(topic=topic, partition=0, offset=0, count=2)) == [None, ""]


def test_a_large_record_arrives_whole(client, fresh):
    topic = fresh()
    client.create(topic=topic)
    body = "0123456789abcdef" * 60000                       # 960,000 bytes
    client.produce(topic=topic, records=[{"key": "k", "value": body, "partition": 0}])
    record, = client.read(topic=topic, partition=0, offset=0, count=1)
    assert record["value"] == body


def test_a_record_above_the_limit_is_refused(client, fresh):
    topic = fresh()
    client.create(topic=topic, configs={"max.message.bytes": "100000"})
    client.produce(topic=topic, records=[{"key": "k", "value": "x" * 90000, "partition": 0}])
    refused(TOO_LARGE, client.produce, topic=topic, records=[{"key": "k", "value": "x" * 110000, "partition": 0}])


def test_a_read_may_begin_in_the_middle_of_a_batch(client, fresh):
    topic = fresh()
    client.create(topic=topic)
    client.produce(topic=topic, records=some(100, partition=0), codec="gzip")
    got = client.read(topic=topic, partition=0, offset=57, count=43)
    assert [r["offset"] for r in got] == list(range(57, 100))


def test_offsets_are_found_at_the_ends_and_by_time(client, fresh):
    topic, base = fresh(), 1700000000000
    client.create(topic=topic)
    for first in range(0, 12, 4):                           # several batches of several records
        client.produce(topic=topic, records=[
            {"key": "k", "value": "%d" % n, "timestamp": base + n * 1000, "partition": 0} for n in range(first, first + 4)])
    assert client.offset(topic=topic, partition=0, at="earliest") == 0
    assert client.offset(topic=topic, partition=0, at="latest") == 12
    assert client.offset(topic=topic, partition=0, at=base + 5000) == 5
    assert client.offset(topic=topic, partition=0, at=base + 5001) == 6
    got = client.read(topic=topic, partition=0, offset=client.offset(topic=topic, partition=0, at=base + 9000), count=3)
    assert values(got) == ["9", "10", "11"]


def test_records_are_spread_by_their_keys(client, fresh):
    topic = fresh()
    client.create(topic=topic, partitions=4)
    records = [{"key": "key-%d" % (n % 10), "value": "%d" % n} for n in range(200)]
    placed = client.produce(topic=topic, records=records)
    homes = {}
    for record, (partition, _) in zip(records, placed):
        homes.setdefault(record["key"], set()).add(partition)
    assert all(len(home) == 1 for home in homes.values()) and len(set.union(*homes.values())) > 1
    for partition in range(4):
        mine = [r["value"] for r, (p, _) in zip(records, placed) if p == partition]
        assert values(client.read(topic=topic, partition=partition, offset=0, count=len(mine))) == mine


def test_an_idempotent_producer_writes_each_record_once(client, fresh):
    topic = fresh()
    client.create(topic=topic)
    assert client.produce(topic=topic, records=some(2000, partition=0), idempotent=True) == [[0, n] for n in range(2000)]
    assert client.offset(topic=topic, partition=0, at="latest") == 2000


def test_a_compacted_topic_keeps_the_newest_record_of_each_key(client, fresh, peer):
    if peer == "kafka":
        pytest.skip("Kafka leaves the last segment alone until something more is written")
    topic = fresh()
    client.create(topic=topic, configs={"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"})
    client.produce(topic=topic, records=[{"key": "k%d" % (n % 10), "value": "v%d" % n, "partition": 0} for n in range(1000)])
    newest = ["v%d" % n for n in range(990, 1000)]
    wait_until(lambda: values(client.read(topic=topic, partition=0, offset=0, count=10)) == newest, "compaction", 20, 0.1)


def test_a_record_without_a_key_is_refused_where_the_topic_is_compacted(client, fresh):
    topic = fresh()
    client.create(topic=topic, configs={"cleanup.policy": "compact"})
    refused(INVALID_RECORD, client.produce, topic=topic, records=[{"key": None, "value": "v", "partition": 0}])


# -- groups -----------------------------------------------------------------

def test_a_group_resumes_where_it_committed(client, fresh):
    topic, group = fresh(), fresh("g")
    client.create(topic=topic)
    client.produce(topic=topic, records=some(10, partition=0))
    client.join(member="one", group=group, topic=topic)
    assert values(client.take(member="one", count=4)) == ["v0", "v1", "v2", "v3"]
    client.commit(member="one")
    client.leave(member="one")
    assert client.committed(group=group, topic=topic, partition=0) == 4
    client.join(member="two", group=group, topic=topic)
    assert [r["offset"] for r in client.take(member="two", count=6)] == list(range(4, 10))
    client.leave(member="two")


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "sticky", "cooperative-sticky"])
def test_two_members_share_the_partitions_and_one_takes_over_when_the_other_leaves(client, fresh, strategy):
    topic, group = fresh(), fresh("g")
    client.create(topic=topic, partitions=4)
    client.join(member="one", group=group, topic=topic, strategy=strategy)
    wait_until(lambda: client.assigned(member="one") == [0, 1, 2, 3], "the first member has all", 20)
    client.join(member="two", group=group, topic=topic, strategy=strategy)
    wait_until(lambda: len(client.assigned(member="one")) == 2
               and sorted(client.assigned(member="one") + client.assigned(member="two")) == [0, 1, 2, 3], "they share", 20)
    client.produce(topic=topic, records=[{"key": "k", "value": "%d" % n, "partition": n % 4} for n in range(40)])
    one, two = (values(client.take(member=m, count=20)) for m in ("one", "two"))
    assert len(one) == len(two) == 20 and sorted(map(int, one + two)) == list(range(40))
    client.commit(member="one")
    client.commit(member="two")
    client.leave(member="two")
    wait_until(lambda: client.assigned(member="one") == [0, 1, 2, 3], "the first member has all again", 20)
    client.produce(topic=topic, records=[{"key": "k", "value": "%d" % n, "partition": n % 4} for n in range(40, 48)])
    assert sorted(map(int, values(client.take(member="one", count=8)))) == list(range(40, 48))
    client.leave(member="one")


# -- administration ---------------------------------------------------------

def test_topics_are_created_listed_grown_and_deleted(client, fresh):
    topic = fresh()
    client.create(topic=topic, partitions=3)
    seen_by(client.topics, topic)
    assert client.partitions(topic=topic) == 3
    refused(TOPIC_ALREADY_EXISTS, client.create, topic=topic)
    client.grow(topic=topic, partitions=5)
    wait_until(lambda: client.partitions(topic=topic) == 5, "there are five partitions")
    client.delete(topic=topic)
    seen_by(client.topics, topic, there=False)


def test_deleting_an_unknown_topic_is_an_error(client, fresh):
    refused(UNKNOWN_TOPIC, client.delete, topic=fresh("missing"))


def test_settings_are_described_altered_and_refused(client, fresh):
    topic = fresh()
    client.create(topic=topic, configs={"max.message.bytes": "345678"})
    assert client.configs(topic=topic)["max.message.bytes"] == "345678"
    client.alter(topic=topic, name="retention.ms", value="60000")
    wait_until(lambda: client.configs(topic=topic)["retention.ms"] == "60000", "the setting is altered")
    refused(INVALID_CONFIG, client.alter, topic=topic, name="retention.ms", value="soon")


def test_records_before_an_offset_are_deleted(client, fresh):
    topic = fresh()
    client.create(topic=topic)
    client.produce(topic=topic, records=some(10, partition=0))
    client.trim(topic=topic, partition=0, before=6)
    assert client.offset(topic=topic, partition=0, at="earliest") == 6


def test_groups_are_listed_described_and_deleted(client, fresh):
    topic, group = fresh(), fresh("g")
    client.create(topic=topic)
    client.produce(topic=topic, records=some(3, partition=0))
    client.join(member="one", group=group, topic=topic)
    client.take(member="one", count=3)
    client.commit(member="one")
    assert group in client.groups()
    assert client.group(group=group) == {"state": "Stable", "members": 1}
    client.leave(member="one")
    wait_until(lambda: client.group(group=group) == {"state": "Empty", "members": 0}, "the group is empty")
    client.forget(group=group)
    assert group not in client.groups()


# -- transactions -----------------------------------------------------------

def test_committed_records_are_seen_and_aborted_ones_are_not(client, fresh):
    topic, id = fresh(), fresh("tx")
    client.create(topic=topic)
    client.transactional(id=id)
    for name, commit in (("a", True), ("b", False), ("c", True)):
        client.begin(id=id)
        client.produce(topic=topic, records=[{"key": "k", "value": "%s%d" % (name, n), "partition": 0} for n in range(5)],
                       transaction=id)
        client.end(id=id, commit=commit)
    assert values(client.read(topic=topic, partition=0, offset=0, count=10, committed=True)) \
        == ["%s%d" % (name, n) for name in "ac" for n in range(5)]
    assert len(client.read(topic=topic, partition=0, offset=0, count=15)) == 15


def test_an_open_transaction_hides_what_comes_behind_it(client, fresh):
    topic, id = fresh(), fresh("tx")
    client.create(topic=topic)
    client.transactional(id=id)
    client.begin(id=id)
    client.produce(topic=topic, records=[{"key": "k", "value": "open", "partition": 0}], transaction=id)
    client.produce(topic=topic, records=[{"key": "k", "value": "behind", "partition": 0}])
    assert client.read(topic=topic, partition=0, offset=0, count=1, wait_ms=600, committed=True) == []
    client.end(id=id, commit=True)
    assert values(client.read(topic=topic, partition=0, offset=0, count=2, committed=True)) == ["open", "behind"]


def test_records_are_copied_exactly_once_with_their_offsets(client, fresh):
    source, target, group, id = fresh("from"), fresh("to"), fresh("g"), fresh("tx")
    client.create(topic=source)
    client.create(topic=target)
    client.produce(topic=source, records=some(20, partition=0))
    client.transactional(id=id)
    for member, commit in (("the one that aborts", False), ("the one that commits", True)):
        client.join(member=member, group=group, topic=source, transaction=id)
        taken = client.take(member=member, count=20)
        assert values(taken) == ["v%d" % n for n in range(20)]
        client.begin(id=id)
        client.produce(topic=target, records=[{"key": r["key"], "value": r["value"] + "!", "partition": 0} for r in taken],
                       transaction=id)
        client.send_offsets(id=id, member=member)
        client.end(id=id, commit=commit)
        # The end of a transaction is answered before everybody sees it.
        wait_until(lambda: client.committed(group=group, topic=source, partition=0) == (20 if commit else -1), "the offset")
        client.leave(member=member)
    assert values(client.read(topic=target, partition=0, offset=0, count=20, committed=True)) == ["v%d!" % n for n in range(20)]


def test_a_second_producer_shuts_out_the_first(client, server, fresh, request):
    topic, id = fresh(), fresh("tx")
    client.create(topic=topic)
    client.transactional(id=id)
    client.begin(id=id)
    client.produce(topic=topic, records=[{"key": "k", "value": "of the first", "partition": 0}], transaction=id)
    second = start(request.node.callspec.params["client"], server)
    try:
        second.transactional(id=id)
        second.begin(id=id)
        second.produce(topic=topic, records=[{"key": "k", "value": "of the second", "partition": 0}], transaction=id)
        second.end(id=id, commit=True)
    finally:
        second.close()
    with pytest.raises(Refused):
        client.end(id=id, commit=True)
    assert values(client.read(topic=topic, partition=0, offset=0, count=1, committed=True)) == ["of the second"]


def test_what_a_transaction_left_open_is_aborted_by_the_next_producer_after_a_kill(client, server, fresh, request):
    topic, id = fresh(), fresh("tx")
    patiently(client.create, topic=topic)
    mortal = start(request.node.callspec.params["client"], server)
    try:
        mortal.transactional(id=id)
        mortal.begin(id=id)
        mortal.produce(topic=topic, records=some(3, partition=0), transaction=id)
    finally:
        mortal.close()
    server.restart(kill=True)
    patiently(client.transactional, id=id)
    client.begin(id=id)
    client.produce(topic=topic, records=[{"key": "k", "value": "mine", "partition": 0}], transaction=id)
    client.end(id=id, commit=True)
    assert values(client.read(topic=topic, partition=0, offset=0, count=1, committed=True)) == ["mine"]


# -- a broker that is killed ------------------------------------------------

def test_records_offsets_and_topics_survive_a_kill(client, server, fresh):
    topic, group = fresh(), fresh("g")
    patiently(client.create, topic=topic, partitions=2)     # another client's scenario may have ended the connection
    client.produce(topic=topic, records=some(10, partition=1), acks=-1)
    client.join(member="one", group=group, topic=topic)
    client.take(member="one", count=7)
    client.commit(member="one")
    client.leave(member="one")
    server.restart(kill=True)
    assert patiently(client.partitions, topic=topic) == 2
    assert len(patiently(client.read, topic=topic, partition=1, offset=0, count=10)) == 10
    assert patiently(client.committed, group=group, topic=topic, partition=1) == 7
