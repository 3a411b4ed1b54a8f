# AMQP from the command line: amqp-tools, that is the C library librabbitmq.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess

import pytest

CHAPTER = "AMQP from the command line"
TOOLS = shutil.which("amqp-publish")
pytestmark = pytest.mark.skipif(not TOOLS, reason="amqp-tools are not installed")


def version():
    if not TOOLS:
        return ""
    said = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "amqp-tools"], capture_output=True, text=True).stdout
    return said.split("-")[0]


CLIENT = "amqp-tools " + version()


@pytest.fixture
def tool(server):
    def run(name, *arguments, given=b"", code=0):
        ended = subprocess.run([name, "--url=amqp://guest:guest@" + server.amqp] + list(arguments), input=given,
                               capture_output=True, timeout=30)
        assert ended.returncode == code, ended.stderr.decode(errors="replace")
        return ended.stdout
    return run


def test_a_queue_is_declared_filled_and_read(tool, fresh):
    queue = fresh()
    assert tool("amqp-declare-queue", "-q", queue, "-d") == queue.encode() + b"\n"
    tool("amqp-publish", "-r", queue, "-p", "-b", "hello")
    assert tool("amqp-get", "-q", queue) == b"hello"
    tool("amqp-get", "-q", queue, code=2)               # 2 is "the queue is empty"
    tool("amqp-delete-queue", "-q", queue)


def test_a_consumer_is_given_what_is_there(tool, fresh):
    queue = fresh()
    tool("amqp-declare-queue", "-q", queue, "-d")
    for n in range(3):
        tool("amqp-publish", "-r", queue, "-b", "order %d;" % n)
    assert tool("amqp-consume", "-q", queue, "-c", "3", "cat") == b"order 0;order 1;order 2;"
    tool("amqp-get", "-q", queue, code=2)
    tool("amqp-delete-queue", "-q", queue)


def test_a_consumer_with_a_queue_of_its_own_is_bound_to_an_exchange(tool, server, fresh):
    key = fresh("key")
    consumer = subprocess.Popen(["amqp-consume", "--url=amqp://guest:guest@" + server.amqp, "-e", "amq.topic", "-r", key,
                                 "-A", "-c", "1", "cat"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(100):                # it says nothing when it is bound; publish until it has one
            tool("amqp-publish", "-e", "amq.topic", "-r", key, "-b", "for everybody")
            try:
                consumer.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                pass
        assert consumer.wait(5) == 0
        assert consumer.stdout.read() == b"for everybody"
    finally:
        consumer.kill()
        consumer.wait()
        consumer.stdout.close()
        consumer.stderr.close()
