"""lean.py - clients that cost little and retry nothing: Kafka and SQS over bare sockets, for thousands of kills.

A call either returns what the broker answered or raises; what was under way when a connection broke may or may not
have happened, and it is the caller who knows what that means.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import http.client
import json
import socket
import struct

import crc32c

PRODUCE, FETCH, OFFSETS, CREATE_TOPICS, DELETE_RECORDS = 0, 1, 2, 19, 21


class Refused(Exception):
    """The broker answered with an error."""


# ------------------------------------------------------------------------------------------------------------- Kafka ----

def varint(n):
    n = n << 1 ^ n >> 63
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(b, at):
    n = shift = 0
    while True:
        byte = b[at]
        at += 1
        n |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return n >> 1 ^ -(n & 1), at


def make_batch(records, time_ms):
    """A record batch v2 of (key, value) pairs; a key may be None."""
    body = bytearray()
    for i, (key, value) in enumerate(records):
        head = b"\0\0" + varint(i) + (varint(-1) if key is None else varint(len(key)) + key) + varint(len(value))
        body += varint(len(head) + len(value) + 1) + head + value + b"\0"
    rest = struct.pack(">hiqqqhii", 0, len(records) - 1, time_ms, time_ms, -1, -1, -1, len(records)) + body
    return struct.pack(">qiibI", 0, len(rest) + 9, -1, 2, crc32c.crc32c(rest)) + rest


def read_batches(b):
    """(offset, key, value) of every record in whole batches."""
    at = 0
    while len(b) - at >= 61:
        base, size = struct.unpack_from(">qi", b, at)
        if len(b) - at < 12 + size:
            return
        crc, count = struct.unpack_from(">I", b, at + 17)[0], struct.unpack_from(">i", b, at + 57)[0]
        if crc32c.crc32c(b[at + 21:at + 12 + size]) != crc:
            raise Refused("a batch at %d has a wrong checksum" % base)
        p = at + 61
        for _ in range(count):
            _, p = read_varint(b, p)
            _, p = read_varint(b, p + 1)
            delta, p = read_varint(b, p)
            n, p = read_varint(b, p)
            key, p = (None, p) if n < 0 else (b[p:p + n], p + n)
            n, p = read_varint(b, p)
            value, p = (None, p) if n < 0 else (b[p:p + n], p + n)
            n, p = read_varint(b, p)
            assert n == 0, "headers"
            yield base + delta, key, value
        at += 12 + size


def string(s):
    return struct.pack(">h", len(s)) + s.encode()


class Kafka:
    def __init__(self, address, timeout_s=20):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.socket.close()

    def send(self, api, version, body):
        head = struct.pack(">hhi", api, version, 7) + string("lean")
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)

    def receive(self):
        size = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(size)[4:]

    def exactly(self, n):
        out = bytearray(n)
        view, at = memoryview(out), 0
        while at < n:
            got = self.socket.recv_into(view[at:])
            if not got:
                raise ConnectionError("closed")
            at += got
        return bytes(out)

    def send_produce(self, topic, partition, batch):
        self.send(PRODUCE, 7, struct.pack(">hhii", -1, -1, 30000, 1) + string(topic) +
                  struct.pack(">iii", 1, partition, len(batch)) + batch)

    def receive_produced(self, topic):
        """The offset of the first record."""
        answer = self.receive()
        error, offset = struct.unpack_from(">hq", answer, 4 + 2 + len(topic) + 4 + 4)
        if error:
            raise Refused("produce: %d" % error)
        return offset

    def fetch(self, topic, partition, offset, max_bytes=4 << 20):
        """(committed, log start, records from this offset on); without records the end is reached."""
        self.send(FETCH, 5, struct.pack(">iiiibi", -1, 0, 1, max_bytes, 0, 1) + string(topic) +
                  struct.pack(">iiqqi", 1, partition, offset, -1, max_bytes))
        answer = self.receive()
        at = 4 + 4 + 2 + len(topic) + 4 + 4
        error, high, _, start, aborted = struct.unpack_from(">hqqqi", answer, at)
        if error:
            raise Refused("fetch: %d" % error)
        at += 30 + 16 * max(aborted, 0) + 4
        return high, start, [r for r in read_batches(answer[at:]) if r[0] >= offset]

    def offset(self, topic, partition, when):
        """-2: the log's start; -1: its end."""
        self.send(OFFSETS, 1, struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, partition, when))
        error, _, offset = struct.unpack_from(">hqq", self.receive(), 4 + 2 + len(topic) + 4 + 4)
        if error:
            raise Refused("offsets: %d" % error)
        return offset

    def create(self, topic, partitions, configs=()):
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">ihii", partitions, 1, 0, len(configs))
        for name, value in configs:
            body += string(name) + string(value)
        self.send(CREATE_TOPICS, 2, body + struct.pack(">ib", 10000, 0))
        error = struct.unpack_from(">h", self.receive(), 4 + 4 + 2 + len(topic))[0]
        if error:
            raise Refused("create %s: %d" % (topic, error))

    def delete_records(self, topic, partition, offset):
        self.send(DELETE_RECORDS, 0, struct.pack(">i", 1) + string(topic) + struct.pack(">iiqi", 1, partition, offset, 10000))
        error = struct.unpack_from(">h", self.receive(), 4 + 4 + 2 + len(topic) + 4 + 4 + 8)[0]
        if error:
            raise Refused("delete records: %d" % error)


# --------------------------------------------------------------------------------------------------------------- SQS ----

class Sqs:
    """One keep-alive connection: the SDKs' retries would hide what was answered."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=20)

    def __call__(self, action, **parameters):
        self.connection.request("POST", "/", json.dumps(parameters), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action})
        answer = self.connection.getresponse()
        body = json.loads(answer.read() or b"{}")
        if answer.status != 200:
            raise Refused("%s: %s" % (action, body))
        return body

    def close(self):
        self.connection.close()
