"""`hawser fsck`: what it says of whole and of damaged directories, and what it repairs.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import glob
import http.client
import os
import re
import subprocess
import time

import pytest

from broker import ROOT, Broker, BrokerFailed

CLIENT = "the shell"
CHAPTER = "The command"
CORPUS = os.path.join(ROOT, "tests", "upgrade", "corpus", "keel")
BINARY = os.environ.get("HAWSER_BINARY", os.path.join(ROOT, "build", "hawser"))


def fsck(*words):
    done = subprocess.run([BINARY, "fsck", *words], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def data(tmp_path):
    subprocess.run(["tar", "-C", tmp_path, "-xJf", os.path.join(CORPUS, "stop-1.tar.xz")], check=True)
    return str(tmp_path)


def newest(data, pattern):
    return sorted(glob.glob(os.path.join(data, "shard-0", pattern)))[-1]


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def test_a_directory_after_an_orderly_end_and_after_a_kill_is_whole(tmp_path):
    for end in ("stop-1", "kill-1", "kill-2"):
        where = tmp_path / end
        where.mkdir()
        subprocess.run(["tar", "-C", where, "-xJf", os.path.join(CORPUS, end + ".tar.xz")], check=True)
        code, said = fsck(str(where))
        assert code == 0 and said.count(": 0 problems") == int(end[-1]), said


def test_damage_in_a_segment_is_told_with_file_offset_cause_and_topic(data):
    segments = sorted(glob.glob(os.path.join(data, "shard-0", "segments", "*.seg")), key=os.path.getsize)
    flip(segments[-1], 5000)                    # the largest one: of the topic that has the most
    code, said = fsck(data)
    name = os.path.relpath(segments[-1], data)
    assert code == 4, said
    assert "%s offset 4096: the checksum of the extent does not match (bulk/0, offsets 0 to " % name in said, said
    assert fsck("--repair", data)[0] == 4       # nothing that is safe helps


def test_a_damaged_index_is_made_again_on_request(data):
    path = newest(data, "segments/*.idx")
    flip(path, 4100)
    code, said = fsck(data)
    assert code == 4 and os.path.relpath(path, data) in said and "the next start puts it right" in said, said
    code, said = fsck("--repair", data)
    assert code == 1 and "put right, and a new checkpoint is written" in said, said
    code, said = fsck(data)
    assert code == 0, said


def test_a_damaged_checkpoint_is_told(data):
    path = newest(data, "checkpoint-*")
    flip(path, 5000)
    code, said = fsck(data)
    assert "%s offset 4096: the checksum does not match" % os.path.relpath(path, data) in said, said
    assert code == 4, said


def test_damage_in_the_journal_is_told(data):
    # The broker's state in the last commits: without it nobody knows what was decided.
    for path in glob.glob(os.path.join(data, "shard-0", "journal", "*.jnl")):
        with open(path, "rb") as f:
            whole = f.read()
        at = whole.find(b"hmct", 4096)
        while at > 0 and at % 4096:
            at = whole.find(b"hmct", at + 1)
        if at > 0:
            flip(path, at + 90)
    code, said = fsck(data)
    assert code == 4, said
    assert "/journal/" in said and " offset " in said and "checksum" in said or "missing" in said, said


def test_a_directory_in_use_is_refused(tmp_path):
    broker = Broker(data=str(tmp_path / "data"))
    broker.start()
    code, said = fsck(broker.data)
    assert code == 8 and "held by another process" in said, said
    assert broker.stop() == 0
    assert fsck(broker.data)[0] == 0
    broker.close()


@pytest.mark.parametrize("words", [[], ["a", "b"], ["--mend", "a"]], ids=["none", "two", "unknown option"])
def test_usage(words):
    code, said = fsck(*words)
    assert code == 16 and said.startswith("usage: hawser fsck"), said


def test_what_is_no_data_directory_is_refused(tmp_path):
    code, said = fsck(str(tmp_path))
    assert code == 8 and "LOCK" in said, said
    assert os.listdir(tmp_path) == []           # and nothing was made in it


# -- damage that a broker lives with ------------------------------------------------------------------------------

def spoil(data, text):
    """Flip a bit of what a client wrote, wherever the journal has it.  Returns the file and the place."""
    for path in glob.glob(os.path.join(data, "shard-0", "journal", "*.jnl")):
        with open(path, "rb") as f:
            at = f.read().find(text)
        if at >= 0:
            flip(path, at)
            return path, at
    raise AssertionError("%s is not in the journal" % text)


def test_a_damaged_batch_in_the_journal_keeps_only_itself_from_being_served(tmp_path):
    confluent_kafka = pytest.importorskip("confluent_kafka")
    kafka_raw = pytest.importorskip("kafka_raw")
    broker = Broker(data=str(tmp_path / "data"))
    broker.start()
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka})
    producer.produce("whole", b"something else")
    producer.flush(20)
    now_ms = int(time.time() * 1000)
    with kafka_raw.KafkaRaw(broker.kafka) as raw:
        who = raw.producer_id()
        producer.produce("d", b"the first")
        producer.flush(20)
        for n in range(9):
            assert raw.produce("d", 0, kafka_raw.batch([b"value number %d." % n], who, n, now_ms)) == (0, n + 1)
    producer.produce("whole", b"what comes after it says that it was durable")
    producer.flush(20)
    broker.kill9()
    spoil(broker.data, b"value number 8.")
    code, said = fsck(broker.data)
    assert code == 4 and "the checksum of a batch does not match (d/0, offsets 9 to 9)" in said, said

    broker.start()
    assert "hawser_damaged_batches 1" in broker.get("/metrics") and "1 batches are damaged" in broker.tail()
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "g", "auto.offset.reset": "error"})

    def read(topic, offset):
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, offset)])
        return consumer.poll(5)

    for n in range(8):
        assert read("d", n + 1).value() == b"value number %d." % n
    assert read("whole", 0).value() == b"something else"
    bad = read("d", 9)
    assert bad is None or bad.error() is not None
    # Whoever wrote it goes on; so does everybody else, and what comes after it is read.
    with kafka_raw.KafkaRaw(broker.kafka) as raw:
        assert raw.produce("d", 0, kafka_raw.batch([b"after it"], who, 9, now_ms)) == (0, 10)
        assert raw.produce("d", 0, kafka_raw.batch([b"after it"], who, 9, now_ms)) == (0, 10)    # a retry
        assert raw.produce("d", 0, kafka_raw.batch([b"a gap"], who, 17, now_ms))[0] == 45
    assert read("d", 10).value() == b"after it"
    assert read("d", 1).value() == b"value number 0."
    consumer.close()
    assert broker.stop() == 0
    broker.close()


def two_queues(broker):
    """Killed after they were answered, the first one damaged in the journal.  Returns the file and the place."""
    broker.start()
    connection = http.client.HTTPConnection(broker.sqs, timeout=20)
    for name in ("queue-of-this-name", "another"):
        connection.request("POST", "/", '{"QueueName": "%s"}' % name,
                           {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.CreateQueue"})
        assert connection.getresponse().read()
    broker.kill9()
    return spoil(broker.data, b"queue-of-this-name")


def test_damaged_state_is_taken_from_the_next_commit(tmp_path):
    broker = Broker(data=str(tmp_path / "data"))
    two_queues(broker)
    code, said = fsck(broker.data)
    assert code == 4 and "the checksum of the broker's state does not match" in said, said
    assert "the next start puts it right" in said, said
    broker.start()
    connection = http.client.HTTPConnection(broker.sqs, timeout=20)
    connection.request("POST", "/", "{}", {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ListQueues"})
    answer = connection.getresponse().read().decode()
    assert "queue-of-this-name" in answer and "another" in answer, answer
    assert broker.stop() == 0
    assert fsck(broker.data)[0] == 0
    broker.close()


def test_state_that_is_damaged_twice_stops_the_start_and_says_where(tmp_path):
    broker = Broker(data=str(tmp_path / "data"))
    path, at = two_queues(broker)
    flip(path, (at // 4096 + 2) * 4096 - 1)         # the end of the next commit, where it says the same again
    with pytest.raises(BrokerFailed) as refused:
        broker.start()
    assert re.search(r"shard-0: journal/\w+\.jnl offset \d+: the checksum of the broker's state does not match, .*run `hawser fsck %s`"
                     % re.escape(broker.data), str(refused.value)), refused.value
    code, said = fsck(broker.data)
    assert code == 4 and "the checksum of the broker's state does not match" in said, said
    assert "a broker does not start on it" in said, said
    # Given up on request: it is told, a copy is kept, and the rest is there.
    code, said = fsck("--drop-damaged", broker.data)
    assert code == 1 and "a record of the broker's state is dropped" in said, said
    assert glob.glob(os.path.join(broker.data, "dropped-*", "*.jnl")), said
    assert fsck(broker.data)[0] == 0
    broker.start()
    connection = http.client.HTTPConnection(broker.sqs, timeout=20)
    connection.request("POST", "/", "{}", {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ListQueues"})
    answer = connection.getresponse().read().decode()
    assert "another" in answer and "queue-of-this-name" not in answer, answer
    assert broker.stop() == 0
    broker.close()
