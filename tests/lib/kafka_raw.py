# kafka_raw.py - a few Kafka requests in bytes of our own, for what client libraries keep to themselves: producer ids,
# sequence numbers, error codes.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import socket
import struct

import crc32c

PRODUCE, INIT_PRODUCER_ID = 0, 22


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def text(s):
    return struct.pack(">h", -1) if s is None else struct.pack(">h", len(s)) + s.encode()


def batch(values, producer=(-1, -1), sequence=-1, time_ms=0):
    """One uncompressed record batch v2 without keys."""
    records = b""
    for n, value in enumerate(values):
        body = b"\0" + varint(0) + varint(n) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(body)) + body
    covered = struct.pack(">hiqqqhii", 0, len(values) - 1, time_ms, time_ms, producer[0], producer[1], sequence,
                          len(values)) + records
    return struct.pack(">qiibI", 0, len(covered) + 9, -1, 2, crc32c.crc32c(covered)) + covered


class KafkaRaw:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, key, version, body):
        self.correlation += 1
        frame = struct.pack(">hhi", key, version, self.correlation) + text("raw") + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        answer = self._take(struct.unpack(">i", self._take(4))[0])
        assert struct.unpack_from(">i", answer)[0] == self.correlation
        return answer[4:]

    def _take(self, n):
        out = b""
        while len(out) < n:
            some = self.socket.recv(n - len(out))
            if not some:
                raise ConnectionError("the broker closed the connection")
            out += some
        return out

    def producer_id(self):
        """A new idempotent producer: (id, epoch)."""
        _, error, number, epoch = struct.unpack(">ihqh", self.ask(INIT_PRODUCER_ID, 0, text(None) + struct.pack(">i", 1000)))
        assert error == 0, error
        return number, epoch

    def produce(self, topic, partition, batch_bytes, acks=-1):
        """(error code, base offset) of one batch."""
        body = text(None) + struct.pack(">hii", acks, 20000, 1) + text(topic)
        body += struct.pack(">iii", 1, partition, len(batch_bytes)) + batch_bytes
        answer = self.ask(PRODUCE, 3, body)
        at = 4 + 2 + len(topic) + 4
        _, error, offset = struct.unpack_from(">ihq", answer, at)
        return error, offset
