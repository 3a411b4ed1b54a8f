"""lean_amqp.py - an AMQP client over a bare socket that costs little, hides nothing and can be cut in every way.

    c = Amqp(address); c.open(1); c.confirm(1); c.publish(1, "", "orders", body)
    for event in c.events(0.1): ...          # Deliver, Confirm or Answer, in the order in which they came

What is sent is in the kernel when a call returns.  A connection that is gone raises OSError.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import array
import fcntl
import select
import socket
import struct
import termios
from collections import namedtuple

METHOD, HEADER, BODY, END = 1, 2, 3, b"\xce"
FRAME_MAX = 131072

START, START_OK, TUNE, TUNE_OK, OPEN, OPEN_OK, CLOSE, CLOSE_OK = [(10, n) for n in (10, 11, 30, 31, 40, 41, 50, 51)]
CHANNEL_OPEN, CHANNEL_OPEN_OK, CHANNEL_CLOSE = (20, 10), (20, 11), (20, 40)
EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK = (40, 10), (40, 11)
QUEUE_DECLARE, QUEUE_DECLARE_OK, QUEUE_BIND, QUEUE_BIND_OK = (50, 10), (50, 11), (50, 20), (50, 21)
QOS, QOS_OK, CONSUME, CONSUME_OK, PUBLISH, RETURN, DELIVER, ACK, REJECT, NACK = [
    (60, n) for n in (10, 11, 20, 21, 40, 50, 60, 80, 90, 120)]
CONFIRM_SELECT, CONFIRM_SELECT_OK = (85, 10), (85, 11)
TX_SELECT, TX_SELECT_OK, TX_COMMIT, TX_COMMIT_OK = (90, 10), (90, 11), (90, 20), (90, 21)

Deliver = namedtuple("Deliver", "channel tag redelivered headers body")
Confirm = namedtuple("Confirm", "channel tag multiple ok")
Answer = namedtuple("Answer", "channel method payload")


class Refused(Exception):
    """The broker closed the channel or the connection, and says why."""


# ------------------------------------------------------------------------------------------------------------ values ----

def short(text):
    raw = text.encode()
    return struct.pack(">B", len(raw)) + raw


def table(fields):
    body = b""
    for name, value in (fields or {}).items():
        body += short(name)
        if isinstance(value, int):
            body += b"l" + struct.pack(">q", value)
        else:
            body += b"S" + struct.pack(">I", len(value)) + value.encode()
    return struct.pack(">I", len(body)) + body


NUMBERS = {b"b": ">b", b"B": ">B", b"s": ">h", b"u": ">H", b"I": ">i", b"i": ">I", b"l": ">q", b"L": ">q", b"T": ">Q", b"f": ">f",
           b"d": ">d", b"t": ">?"}


def read_value(b, at):
    kind, at = b[at:at + 1], at + 1
    if kind in NUMBERS:
        return struct.unpack_from(NUMBERS[kind], b, at)[0], at + struct.calcsize(NUMBERS[kind])
    if kind == b"V":
        return None, at
    size = struct.unpack_from(">I", b, at)[0]
    at, end = at + 4, at + 4 + size
    if kind in (b"S", b"x"):
        return b[at:end].decode(errors="replace"), end
    if kind == b"F":
        return read_fields(b, at, end), end
    assert kind == b"A", kind
    values = []
    while at < end:
        value, at = read_value(b, at)
        values.append(value)
    return values, end


def read_fields(b, at, end):
    fields = {}
    while at < end:
        size = b[at]
        name = b[at + 1:at + 1 + size].decode()
        fields[name], at = read_value(b, at + 1 + size)
    return fields


def read_headers(b):
    """The headers of a content header's payload; what stands before them is a content type and an encoding at most."""
    flags, at = struct.unpack_from(">H", b, 12)[0], 14
    for flag in (0x8000, 0x4000):
        if flags & flag:
            at += 1 + b[at]
    if not flags & 0x2000:
        return {}
    size = struct.unpack_from(">I", b, at)[0]
    return read_fields(b, at + 4, at + 4 + size)


# -------------------------------------------------------------------------------------------------------- connection ----

class Amqp:
    def __init__(self, address, timeout_s=10, receive_bytes=None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(timeout_s)
        self.socket.connect((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes, self.ready, self.contents = b"", [], {}
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.wait(START)
        plain = b"\0guest\0guest"
        self.method(0, START_OK, table({}) + short("PLAIN") + struct.pack(">I", len(plain)) + plain + short("en_US"))
        channels = struct.unpack_from(">H", self.wait(TUNE).payload)[0]
        self.method(0, TUNE_OK, struct.pack(">HIH", channels, FRAME_MAX, 0))
        self.method(0, OPEN, short("/") + b"\0\0")
        self.wait(OPEN_OK)

    # -- out --

    def method(self, channel, method, payload=b""):
        self.socket.sendall(self.frame(METHOD, channel, struct.pack(">HH", *method) + payload))

    @staticmethod
    def frame(kind, channel, payload):
        return struct.pack(">BHI", kind, channel, len(payload)) + payload + END

    def ask(self, channel, method, payload, answer):
        self.method(channel, method, payload)
        return self.wait(answer)

    def open(self, channel):
        self.ask(channel, CHANNEL_OPEN, b"\0", CHANNEL_OPEN_OK)

    def confirm(self, channel):
        self.ask(channel, CONFIRM_SELECT, b"\0", CONFIRM_SELECT_OK)

    def transactions(self, channel):
        self.ask(channel, TX_SELECT, b"", TX_SELECT_OK)

    def declare_exchange(self, channel, name, kind, arguments=None):
        self.ask(channel, EXCHANGE_DECLARE, b"\0\0" + short(name) + short(kind) + b"\2" + table(arguments), EXCHANGE_DECLARE_OK)

    def declare(self, channel, queue, arguments=None):
        self.ask(channel, QUEUE_DECLARE, b"\0\0" + short(queue) + b"\2" + table(arguments), QUEUE_DECLARE_OK)

    def bind(self, channel, queue, exchange, key):
        self.ask(channel, QUEUE_BIND, b"\0\0" + short(queue) + short(exchange) + short(key) + b"\0" + table({}), QUEUE_BIND_OK)

    def consume(self, channel, queue, prefetch, arguments=None):
        self.ask(channel, QOS, struct.pack(">IHB", 0, prefetch, 0), QOS_OK)
        self.ask(channel, CONSUME, b"\0\0" + short(queue) + short("") + b"\0" + table(arguments), CONSUME_OK)

    def publish(self, channel, exchange, key, body, headers=None):
        """A persistent message."""
        flags, fields = (0x3000, table(headers)) if headers else (0x1000, b"")
        out = self.frame(METHOD, channel, struct.pack(">HH", *PUBLISH) + b"\0\0" + short(exchange) + short(key) + b"\0")
        out += self.frame(HEADER, channel, struct.pack(">HHQH", 60, 0, len(body), flags) + fields + b"\2")
        for at in range(0, len(body), FRAME_MAX - 8):
            out += self.frame(BODY, channel, body[at:at + FRAME_MAX - 8])
        self.socket.sendall(out)

    def ack(self, channel, tag, multiple=False):
        self.method(channel, ACK, struct.pack(">QB", tag, multiple))

    def nack(self, channel, tag, requeue, multiple=False):
        self.method(channel, NACK, struct.pack(">QB", tag, multiple | requeue << 1))

    def reject(self, channel, tag):
        self.method(channel, REJECT, struct.pack(">QB", tag, 0))

    def commit(self, channel):
        self.method(channel, TX_COMMIT)

    # -- in --

    def wait(self, method):
        """What comes before the answer is kept for events()."""
        for n in range(len(self.ready), 1 << 30):
            while len(self.ready) <= n:
                self.receive()
            event = self.ready[n]
            if isinstance(event, Answer) and event.method == method:
                return self.ready.pop(n)

    def events(self, timeout_s):
        """What has come, and if that is nothing, what comes within the time."""
        if not self.ready and select.select([self.socket], [], [], timeout_s)[0]:
            self.receive()
        ready, self.ready = self.ready, []
        return ready

    def receive(self):
        more = self.socket.recv(262144)
        if not more:
            raise ConnectionError("closed")
        b, at = self.bytes + more, 0
        while len(b) - at >= 8:
            kind, channel, size = struct.unpack_from(">BHI", b, at)
            if len(b) - at < size + 8:
                break
            assert b[at + 7 + size] == END[0], "a frame without an end"
            self.on_frame(kind, channel, b[at + 7:at + 7 + size])
            at += size + 8
        self.bytes = b[at:]

    def on_frame(self, kind, channel, payload):
        if kind == METHOD:
            self.on_method(channel, struct.unpack_from(">HH", payload), payload[4:])
            return
        if kind not in (HEADER, BODY):
            return
        content = self.contents[channel]
        if kind == HEADER:
            content["size"], content["headers"] = struct.unpack_from(">Q", payload, 4)[0], read_headers(payload)
        else:
            content["body"] += payload
        if len(content["body"]) == content["size"]:
            del self.contents[channel]
            self.ready.append(Deliver(channel, content["tag"], content["redelivered"], content["headers"], content["body"]))

    def on_method(self, channel, method, payload):
        if method in (CLOSE, CHANNEL_CLOSE):
            raise Refused(payload[3:3 + payload[2]].decode())
        if method == DELIVER:
            tag, redelivered = struct.unpack_from(">Q?", payload, 1 + payload[0])
            self.contents[channel] = {"tag": tag, "redelivered": redelivered, "body": b""}
        elif method in (ACK, NACK):
            tag, bits = struct.unpack(">QB", payload)
            self.ready.append(Confirm(channel, tag, bool(bits & 1), method == ACK))
        else:
            self.ready.append(Answer(channel, method, payload))

    def waiting_bytes(self):
        """What lies in the kernel, unread."""
        size = array.array("i", [0])
        fcntl.ioctl(self.socket, termios.FIONREAD, size)
        return size[0]

    # -- the end --

    def close(self):
        """In good order."""
        self.ask(0, CLOSE, struct.pack(">H", 200) + short("") + b"\0\0\0\0", CLOSE_OK)
        self.socket.close()

    def end(self):
        """The process dies: its kernel says goodbye."""
        self.socket.close()

    def reset(self):
        """The cable is gone, and the kernel says so: the broker's socket breaks."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def break_off(self):
        """In the middle of a frame."""
        self.socket.send(self.frame(METHOD, 1, struct.pack(">HH", *ACK) + b"\0" * 9)[:9])
        self.reset()
