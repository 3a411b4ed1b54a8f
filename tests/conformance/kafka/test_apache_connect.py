# Kafka Connect, distributed: a worker that keeps its connectors, their offsets and their status in compacted topics, with a
# source that reads a file in transactions and a sink that writes one.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

import apache
from broker import wait_until

CLIENT = "Kafka Connect " + apache.version()
CHAPTER = "Kafka, Apache's tools"
pytestmark = [pytest.mark.skipif(not os.path.exists(apache.CLASSPATH), reason="no Kafka jars"), pytest.mark.timeout(240),
              pytest.mark.xdist_group("streams")]


def settings(server, name, port):
    string = "org.apache.kafka.connect.storage.StringConverter"
    return {
        "bootstrap.servers": server.kafka, "group.id": name, "listeners": "http://127.0.0.1:%d" % port,
        "key.converter": string, "value.converter": string, "exactly.once.source.support": "enabled",
        "config.storage.topic": name + "-configs", "config.storage.replication.factor": 1,
        "offset.storage.topic": name + "-offsets", "offset.storage.replication.factor": 1, "offset.storage.partitions": 2,
        "status.storage.topic": name + "-status", "status.storage.replication.factor": 1, "status.storage.partitions": 2,
        "offset.flush.interval.ms": 500, "plugin.discovery": "service_load", "consumer.auto.offset.reset": "earliest",
    }


class Worker:
    def __init__(self, java, server, name, home):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        path = home / "worker.properties"
        path.write_text("".join("%s=%s\n" % pair for pair in settings(server, name, port).items()))
        self.address = "http://127.0.0.1:%d" % port
        self.said = open(home / "log", "w+")
        self.process = subprocess.Popen(java.command("org.apache.kafka.connect.cli.ConnectDistributed", path, heap_mb=400),
                                        stdout=self.said, stderr=self.said)

    def ask(self, path, **body):
        """What REST answers, or None while it does not."""
        assert self.process.poll() is None, "Connect ended"
        request = urllib.request.Request(self.address + path, headers={"Content-Type": "application/json"},
                                         data=json.dumps(body).encode() if body else None)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def connector(self, name, kind, **config):
        config.update({"connector.class": "org.apache.kafka.connect.file.FileStream" + kind, "tasks.max": "1"})
        wait_until(lambda: self.ask("/connectors", name=name, config=config), "the connector %s is taken" % name, 60, 0.5)
        wait_until(lambda: self.states(name) == ["RUNNING", "RUNNING"], "the connector %s runs" % name, 60, 0.2)

    def states(self, name):
        status = self.ask("/connectors/%s/status" % name)
        return status and [status["connector"]["state"]] + [task["state"] for task in status["tasks"]]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.said.close()


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_connect_distributed_carries_a_file_through_a_topic_while_the_broker_is_killed(java, server, fresh, tmp_path):
    source, target, topic = tmp_path / "source", tmp_path / "target", fresh()
    first, second = ["before %d" % n for n in range(500)], ["after %d" % n for n in range(500)]
    source.write_text("\n".join(first) + "\n")
    worker = Worker(java, server, fresh("connect"), tmp_path)
    try:
        wait_until(lambda: worker.ask("/"), "Connect answers", 100, 0.3)
        worker.connector("source", "SourceConnector", file=str(source), topic=topic)
        worker.connector("sink", "SinkConnector", file=str(target), topics=topic)
        wait_until(lambda: len(set(lines(target))) == 500, "the first half arrived", 60, 0.2)
        assert lines(target) == first
        server.restart(kill=True)
        with open(source, "a") as f:
            f.write("\n".join(second) + "\n")
        # At least once: the sink may write again what it had not committed.
        wait_until(lambda: len(set(lines(target))) == 1000, "the second half arrived", 100, 0.2)
        assert list(dict.fromkeys(lines(target))) == first + second
    finally:
        worker.end()
