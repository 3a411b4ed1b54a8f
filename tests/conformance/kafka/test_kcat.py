# Kafka from the command line: kcat, as people use it first.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import shutil
import subprocess

import pytest

CHAPTER = "Kafka"
KCAT = shutil.which("kcat")
pytestmark = pytest.mark.skipif(not KCAT, reason="kcat is not installed")


def version():
    said = subprocess.run([KCAT, "-V"], capture_output=True, text=True).stdout if KCAT else ""
    _, _, after = said.partition("Version ")
    return after.split()[0] if after else ""


CLIENT = "kcat " + version()


@pytest.fixture
def kcat(server):
    def run(*arguments, given=b"", timeout_s=30):
        ended = subprocess.run([KCAT, "-b", server.kafka, "-X", "broker.address.family=v4"] + list(arguments),
                               input=given, capture_output=True, timeout=timeout_s)
        assert ended.returncode == 0, ended.stderr.decode(errors="replace")
        return ended.stdout.decode()
    return run


def test_a_topic_is_created_when_it_is_first_written_to(kcat, fresh):
    topic = fresh()
    kcat("-P", "-t", topic, given=b"one\ntwo\nthree\n")
    assert kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q") == "one\ntwo\nthree\n"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_compression_come_back(kcat, fresh, codec):
    topic = fresh()
    lines = "".join("order %d\n" % n for n in range(500))
    kcat("-P", "-t", topic, "-z", codec, given=lines.encode())
    assert kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q") == lines


def test_keys_headers_and_timestamps_come_back(kcat, fresh):
    topic = fresh()
    kcat("-P", "-t", topic, "-K:", "-H", "source=kcat", given=b"k:v\n")
    got = json.loads(kcat("-C", "-t", topic, "-o", "beginning", "-c", "1", "-J", "-q"))
    assert (got["key"], got["payload"], got["headers"], got["offset"]) == ("k", "v", ["source", "kcat"], 0)
    assert got["ts"] > 1600000000000


def test_the_listing_names_the_broker_and_the_topics(kcat, fresh, server):
    topic = fresh()
    kcat("-P", "-t", topic, given=b"x\n")
    listing = json.loads(kcat("-L", "-J"))
    assert [broker["name"] for broker in listing["brokers"]] == [server.kafka]
    assert topic in [t["topic"] for t in listing["topics"]]


def test_a_group_resumes_where_it_committed(kcat, fresh):
    topic, group = fresh(), fresh("g")
    kcat("-P", "-t", topic, given=b"1\n2\n3\n4\n5\n")
    first = kcat("-G", group, "-X", "auto.offset.reset=earliest", "-c", "3", "-q", topic)
    rest = kcat("-G", group, "-X", "auto.offset.reset=earliest", "-c", "2", "-q", topic)
    assert (first, rest) == ("1\n2\n3\n", "4\n5\n")


def test_the_earliest_and_the_latest_offset_are_known(kcat, fresh):
    topic = fresh()
    kcat("-P", "-t", topic, given=b"1\n2\n3\n")
    assert kcat("-Q", "-t", topic + ":0:-1").split() == [topic, "[0]", "offset", "3"]
    assert kcat("-Q", "-t", topic + ":0:-2").split() == [topic, "[0]", "offset", "0"]
