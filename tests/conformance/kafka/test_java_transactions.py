# Transactions through Apache's own Java client, which speaks version 2 of them
# (KIP-890) to a broker that offers it.  Scenarios that confluent-kafka and
# kafka-python tell too bear the same names.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import subprocess

import pytest
from test_java import CHAPTER, CLIENT, HERE, jars, pytestmark  # noqa: F401


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    out = tmp_path_factory.mktemp("java")
    subprocess.run(["javac", "-cp", jars(), "-d", str(out), os.path.join(HERE, "JavaTransactions.java")],
                   check=True, timeout=60)
    return str(out)


@pytest.fixture
def java(server, compiled):
    def run(*arguments, wait=3000):
        ended = subprocess.run(["java", "-cp", compiled + ":" + jars(), "-Dlog4j2.level=ERROR", "-Dwait=%d" % wait,
                                "JavaTransactions", server.kafka] + [str(a) for a in arguments],
                               capture_output=True, text=True, timeout=90)
        assert ended.returncode == 0, ended.stdout[-500:] + ended.stderr[-2000:]
        return ended.stdout.split("\n")[:-1]
    return run


def values(first, count, end=""):
    return sorted("k%d=v%d%s" % (n, n, end) for n in range(first, first + count))


def test_committed_records_are_seen_and_aborted_ones_are_not(java, fresh):
    topic, tid = fresh(), fresh("tx")
    java("write", topic, tid, "commit", 0, 20)
    java("write", topic, tid, "abort", 20, 20)
    java("write", topic, tid, "commit", 40, 10)
    assert sorted(java("read", topic)) == sorted(values(0, 20) + values(40, 10))


def test_records_are_copied_exactly_once_with_their_offsets(java, fresh):
    source, target, tid = fresh("from"), fresh("to"), fresh("tx")
    java("write", source, tid, "commit", 0, 50)
    assert java("copy", source, target, fresh("g"), fresh("copy"), 50) == ["50"]
    assert sorted(java("read", target)) == values(0, 50, "!")


def test_a_second_producer_shuts_out_the_first(java, fresh):
    topic = fresh()
    assert java("fence", topic, fresh("tx")) == ["ProducerFencedException"]
    assert java("read", topic) == ["k=of the second"]


def test_a_transaction_that_was_left_open_is_aborted_by_the_next_producer(java, fresh):
    topic, tid = fresh(), fresh("tx")
    java("write", topic, tid, "leave", 0, 10)
    java("write", topic, tid, "commit", 10, 5)
    assert sorted(java("read", topic)) == values(10, 5)


def test_a_transaction_that_takes_too_long_is_aborted(java, peer, fresh):
    topic = fresh()
    # Apache Kafka looks every ten seconds.
    said = java("timeout", topic, fresh("tx"), wait=15000 if peer == "kafka" else 3000)
    assert said != ["committed"] and len(said) == 1
    assert java("read", topic) == []


def test_an_open_transaction_is_described_and_listed(java, fresh):
    topic = fresh()
    said = java("describe", topic, fresh("tx"))
    assert said == ["Ongoing 60000 [%s-0]" % topic, "listed Ongoing", "producer true 0"]


def test_a_transaction_survives_a_kill(java, server, fresh):
    topic, tid = fresh(), fresh("tx")
    java("write", topic, tid, "commit", 0, 10)
    java("write", topic, tid, "leave", 10, 10)
    server.restart(kill=True)
    java("write", topic, tid, "commit", 20, 10)
    assert sorted(java("read", topic)) == sorted(values(0, 10) + values(20, 10))
