# amqp_raw.py - an AMQP 0-9-1 client without manners, for what a well-behaved
# library never sends: wrong frames, wrong order, other mechanisms, silence.
#
# It speaks in frames; pika's own codec turns them into bytes and back.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import socket
import struct

from pika import data, frame, spec

HEADER = b"AMQP\x00\x00\x09\x01"


def plain(user, password):
    return b"\x00" + user.encode() + b"\x00" + password.encode()


def amqplain(user, password):
    """The response of AMQPLAIN is a table without its length."""
    pieces = []
    data.encode_table(pieces, {"LOGIN": user, "PASSWORD": password})
    return b"".join(pieces)[4:]


class Raw:
    def __init__(self, address, timeout_s=10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout_s)
        self.socket.settimeout(timeout_s)
        self.bytes = b""

    # -- bytes -----------------------------------------------------------

    def send(self, raw):
        self.socket.sendall(raw)

    def read_header(self):
        """The eight bytes with which a server refuses a protocol header."""
        while len(self.bytes) < 8:
            more = self.socket.recv(4096)
            if not more:
                break
            self.bytes += more
        header, self.bytes = self.bytes[:8], self.bytes[8:]
        return header

    def at_end(self):
        """Read until the server closes; True if it did within the time."""
        try:
            while True:
                if not self.socket.recv(65536):
                    return True
        except socket.timeout:
            return False
        except ConnectionResetError:
            return True

    # -- frames ----------------------------------------------------------

    def method(self, channel, method):
        self.send(frame.Method(channel, method).marshal())

    def content(self, channel, publish, properties, body):
        self.send(frame.Method(channel, publish).marshal()
                  + frame.Header(channel, len(body), properties).marshal()
                  + (frame.Body(channel, body).marshal() if body else b""))

    def frame(self, kind, channel, payload=b"", end=b"\xce"):
        self.send(struct.pack(">BHI", kind, channel, len(payload)) + payload + end)

    def read(self):
        """The next frame, or None when the server has closed."""
        whole = self._read_frame()
        return whole and frame.decode_frame(whole)[1]

    def read_payload(self):
        """The next frame's payload as bytes."""
        return self._read_frame()[7:-1]

    def _read_frame(self):
        while True:
            if len(self.bytes) >= 7:
                size = struct.unpack(">I", self.bytes[3:7])[0] + 8
                if len(self.bytes) >= size:
                    whole, self.bytes = self.bytes[:size], self.bytes[size:]
                    return whole
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self.bytes += more

    def expect(self, kind):
        """The next method, which must be of this kind; heartbeats are passed over."""
        while True:
            got = self.read()
            if isinstance(got, frame.Heartbeat):
                continue
            assert got is not None, "the server closed; expected %s" % kind.NAME
            method = getattr(got, "method", got)
            assert isinstance(method, kind), "expected %s, got %r" % (kind.NAME, method)
            return method

    # -- a connection ----------------------------------------------------

    def start(self):
        self.send(HEADER)
        return self.expect(spec.Connection.Start)

    def login(self, mechanism="PLAIN", response=None, capabilities=None):
        self.start()
        response = plain("guest", "guest") if response is None else response
        properties = {"capabilities": {"authentication_failure_close": True, "basic.nack": True,
                                       "consumer_cancel_notify": True} if capabilities is None else capabilities}
        self.method(0, spec.Connection.StartOk(properties, mechanism, response, "en_US"))

    def open(self, vhost="/", channel_max=2047, frame_max=131072, heartbeat=0, **login):
        self.login(**login)
        tune = self.expect(spec.Connection.Tune)
        self.method(0, spec.Connection.TuneOk(channel_max, frame_max, heartbeat))
        self.method(0, spec.Connection.Open(vhost))
        self.expect(spec.Connection.OpenOk)
        return tune

    def channel(self, number=1):
        self.method(number, spec.Channel.Open())
        self.expect(spec.Channel.OpenOk)

    def close(self):
        self.socket.close()
