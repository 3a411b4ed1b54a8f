#!/usr/bin/env python3
"""sqs_bars.py - what SQS must not cost: parked long polls, and a FIFO group that is blocked.

    bench/sqs_bars.py [--polls 1000] [--backlog 1000000] [--rounds 2000]

Starts build/hawser (script/build first), and prints three lines: the processor time that so many long polls on as many queues take
while nothing happens, and that of a message (send, receive, delete) of other groups, in an empty FIFO queue and in one with a
backlog in a group that has a message in flight.  The last two should be alike.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "lib"))

from broker import Broker  # noqa: E402

PIPELINED = 50


class Client:
    """One connection; requests as bytes, answers as JSON."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.rest = b""

    def send(self, action, **members):
        body = json.dumps(members).encode()
        self.socket.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.%s\r\nContent-Length: %d\r\n\r\n%s" % (
            action.encode(), len(body), body))

    def answer(self):
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.socket.recv(1 << 16)
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        while len(self.rest) < size:
            self.rest += self.socket.recv(1 << 16)
        body, self.rest = self.rest[:size], self.rest[size:]
        assert head.startswith(b"HTTP/1.1 200"), (head, body)
        return json.loads(body)

    def ask(self, action, **members):
        self.send(action, **members)
        return self.answer()


def cpu_s(broker):
    with open("/proc/%d/stat" % broker.process.pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parked(broker, client, polls, seconds=8):
    waiting = []
    for n in range(polls):
        client.ask("CreateQueue", QueueName="parked-%d" % n)
        waiting.append(Client(broker.sqs))
        waiting[-1].send("ReceiveMessage", QueueUrl="parked-%d" % n, WaitTimeSeconds=20)
    time.sleep(2)
    before = cpu_s(broker)
    time.sleep(seconds)
    print("%d parked long polls: %.2f s of processor time in %d s" % (polls, cpu_s(broker) - before, seconds), flush=True)
    for one in waiting:
        one.socket.close()


def other_groups(broker, client, rounds, what):
    before = cpu_s(broker)
    for n in range(rounds):
        group = "%s-%d" % (what.split()[0], n)
        client.ask("SendMessage", QueueUrl="f.fifo", MessageBody="x", MessageGroupId=group, MessageDeduplicationId=group)
        message, = client.ask("ReceiveMessage", QueueUrl="f.fifo")["Messages"]
        client.ask("DeleteMessage", QueueUrl="f.fifo", ReceiptHandle=message["ReceiptHandle"])
    print("FIFO, %s: %.0f us of processor time a message (three requests)" % (what, (cpu_s(broker) - before) / rounds * 1e6), flush=True)


def fill(client, backlog):
    """The first message is in flight for twelve hours, and so the others wait."""
    def batch(n, size):
        client.send("SendMessageBatch", QueueUrl="f.fifo", Entries=[
            {"Id": str(k), "MessageBody": "x", "MessageGroupId": "blocked", "MessageDeduplicationId": "%d-%d" % (n, k)}
            for k in range(size)])
    batch(0, 1)
    client.answer()
    assert client.ask("ReceiveMessage", QueueUrl="f.fifo", VisibilityTimeout=43200)["Messages"]
    under_way = 0
    for n in range(1, backlog // 10 + 1):
        batch(n, 10)
        under_way += 1
        if under_way == PIPELINED or n == backlog // 10:
            for _ in range(under_way):
                client.answer()
            under_way = 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--polls", type=int, default=1000)
    parser.add_argument("--backlog", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=2000)
    o = parser.parse_args()
    with Broker() as broker:
        client = Client(broker.sqs)
        parked(broker, client, o.polls)
        client.ask("CreateQueue", QueueName="f.fifo", Attributes={"FifoQueue": "true"})
        other_groups(broker, client, o.rounds, "empty")
        fill(client, o.backlog)
        other_groups(broker, client, o.rounds, "%d waiting in one group" % o.backlog)


main()
