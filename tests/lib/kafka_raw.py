# kafka_raw.py - a few Kafka requests in bytes of our own, for what client libraries keep to themselves: producer ids,
# sequence numbers, error codes.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import socket
import struct

import crc32c

PRODUCE, FETCH, DELETE_RECORDS, INIT_PRODUCER_ID = 0, 1, 21, 22


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


def take_varint(data, at):
    n = shift = 0
    while True:
        n |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return (n >> 1) ^ -(n & 1), at


def values(batches):
    """offset -> value of the records in uncompressed record batches; what is cut off at the end is left out."""
    found, at = {}, 0
    while at + 61 <= len(batches):
        base, length = struct.unpack_from(">qi", batches, at)
        if at + 12 + length > len(batches):
            break
        assert crc32c.crc32c(batches[at + 21:at + 12 + length]) == struct.unpack_from(">I", batches, at + 17)[0], "bad checksum"
        record = at + 61
        for _ in range(struct.unpack_from(">i", batches, at + 57)[0]):
            size, start = take_varint(batches, record)
            record = start + size
            _, start = take_varint(batches, start + 1)
            delta, start = take_varint(batches, start)
            key, start = take_varint(batches, start)
            value, start = take_varint(batches, start + max(key, 0))
            found[base + delta] = batches[start:start + value]
        at += 12 + length
    return found


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

    def fetch(self, topic, partition, offset, max_bytes=1 << 20):
        """(error code, high watermark, bytes of record batches) from an offset on; does not wait."""
        body = struct.pack(">iiiibi", -1, 0, 0, max_bytes, 0, 1) + text(topic) + struct.pack(">iiqi", 1, partition, offset, max_bytes)
        answer = self.ask(FETCH, 4, body)
        _, error, high, _, aborted = struct.unpack_from(">ihqqi", answer, 4 + 4 + 2 + len(topic) + 4)
        at = 4 + 4 + 2 + len(topic) + 4 + 26 + 16 * max(aborted, 0)
        n, = struct.unpack_from(">i", answer, at)
        return error, high, answer[at + 4:at + 4 + max(n, 0)]

    def delete_records(self, topic, partition, offset):
        """(error code, first offset that is left)."""
        body = struct.pack(">i", 1) + text(topic) + struct.pack(">iiqi", 1, partition, offset, 20000)
        answer = self.ask(DELETE_RECORDS, 0, body)
        low, error = struct.unpack_from(">qh", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
        return error, low
