# conversation.py - raw AMQP conversations with a broker, written down frame by frame; differential.py compares two of them.
# Frames are pika's, so that wrong ones can be sent too.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import socket
import time

from pika import spec as pika_spec, frame, data as table


class Methods:
    """pika's methods without the ticket that comes first in some."""

    def __init__(self, where):
        self.where = where

    def __getattr__(self, name):
        found = getattr(self.where, name)
        if not issubclass(found, pika_spec.amqp_object.Method):
            return Methods(found)
        if "ticket" not in found.__init__.__code__.co_varnames:
            return found
        return lambda *a, **k: found(0, *a, **k)


spec = Methods(pika_spec)

CAPABILITIES = {"publisher_confirms": True, "consumer_cancel_notify": True, "basic.nack": True,
                "connection.blocked": True, "authentication_failure_close": True, "exchange_exchange_bindings": True}


def show(f):
    """One frame as one line: method name and fields, without reserved ones."""
    if isinstance(f, frame.Method):
        m = f.method
        fields = ["%s=%r" % (k, v) for k, v in sorted(vars(m).items()) if k not in ("ticket",)]
        return "%d %s(%s)" % (f.channel_number, m.NAME, ", ".join(fields))
    if isinstance(f, frame.Header):
        p = {k: v for k, v in sorted(vars(f.properties).items()) if v is not None}
        return "%d header size=%d %r" % (f.channel_number, f.body_size, p)
    if isinstance(f, frame.Body):
        return "%d body %r" % (f.channel_number, f.fragment[:40])
    if isinstance(f, frame.ProtocolHeader):
        return "protocol header %d.%d.%d" % (f.major, f.minor, f.revision)
    return type(f).__name__


class Peer:
    def __init__(self, port, log):
        self.port, self.log, self.buffer = port, log, b""
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(5)

    def raw(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError:
            pass

    def send(self, channel, method):
        self.raw(frame.Method(channel, method).marshal())

    def content(self, channel, body, size=None, **properties):
        p = pika_spec.BasicProperties(**properties)
        self.raw(frame.Header(channel, len(body) if size is None else size, p).marshal())
        if body:
            self.raw(frame.Body(channel, body).marshal())

    def publish(self, channel, exchange, key, body=b"x", mandatory=False, immediate=False, **properties):
        self.send(channel, spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory, immediate=immediate))
        self.content(channel, body, **properties)

    def next(self, timeout=5):
        """The next frame; None: closed; 'quiet': nothing came."""
        end = time.monotonic() + timeout
        while True:
            used, f = frame.decode_frame(self.buffer)
            if f is not None:
                self.buffer = self.buffer[used:]
                if isinstance(f, frame.Header):
                    self.last_size = f.body_size
                if isinstance(f, frame.Heartbeat):
                    continue
                return f
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                more = self.socket.recv(65536)
            except socket.timeout:
                return "quiet"
            except OSError:
                return None
            if not more:
                return None
            self.buffer += more

    def read(self, n=1, timeout=5):
        got = None
        for _ in range(n):
            got = self.next(timeout)
            self.log.append("<- " + ("closed" if got is None else got if isinstance(got, str) else show(got)))
            if got is None or isinstance(got, str):
                break
        return got

    def rest(self, timeout=0.4):
        while isinstance(self.read(1, timeout), frame.Frame):
            pass

    def rpc(self, channel, method, n=1):
        self.send(channel, method)
        return self.read(n)

    def said(self, what):
        self.log.append("-- " + what)

    def get(self, channel, queue, no_ack=True):
        """basic.get and what it brings, also written down; the delivery tag, or None."""
        got = self.rpc(channel, spec.Basic.Get(queue, no_ack=no_ack))
        if not isinstance(got, frame.Method) or not isinstance(got.method, pika_spec.Basic.GetOk):
            return None
        self.read()
        if self.last_size:
            self.read()
        return got.method.delivery_tag

    def confirmed(self, channel, numbers, returned=()):
        """Until all of these are acked or nacked; those that are `returned` must be so before.  How confirms are gathered
        into frames is a matter of time, so only the outcome is written down."""
        outcome, others, returned = {}, [], list(returned)
        while set(outcome) != set(numbers):
            f = self.next()
            if not isinstance(f, frame.Frame):
                self.log.append("<- no confirm of %s" % sorted(set(numbers) - set(outcome)))
                return
            m = getattr(f, "method", None)
            if isinstance(m, (pika_spec.Basic.Ack, pika_spec.Basic.Nack)):
                for n in numbers:
                    if n == m.delivery_tag or (m.multiple and n <= m.delivery_tag):
                        outcome.setdefault(n, "ack" if isinstance(m, pika_spec.Basic.Ack) else "nack")
                continue
            others.append(show(f))
            if isinstance(m, pika_spec.Basic.Return) and (not returned or returned.pop(0) in outcome):
                others.append("... after its confirm")
        self.log.extend("<- " + line for line in others)
        self.log.append("<- " + ", ".join("%d %s" % item for item in sorted(outcome.items())))

    def count(self, channel, queue):
        """The queue's figures, when what was published has had time to come there."""
        time.sleep(0.6)
        self.rpc(channel, spec.Queue.Declare(queue=queue, passive=True))

    def close_ok(self, channel):
        """After a channel error: confirm it and open the channel again."""
        self.send(channel, spec.Channel.CloseOk())
        self.send(channel, spec.Channel.Open())
        return self.next()

    def start(self, capabilities=CAPABILITIES, user="guest", password="guest", mechanism="PLAIN"):
        self.raw(b"AMQP\x00\x00\x09\x01")
        f = self.next()
        response = b"\0" + user.encode() + b"\0" + password.encode()
        if mechanism == "AMQPLAIN":
            pieces = []
            table.encode_table(pieces, {"LOGIN": user, "PASSWORD": password})
            response = b"".join(pieces)[4:]
        self.send(0, spec.Connection.StartOk(client_properties={"capabilities": capabilities}, mechanism=mechanism,
                                             response=response, locale="en_US"))
        return f

    def open(self, channels=1, **how):
        self.start(**how)
        tune = self.next()
        self.send(0, spec.Connection.TuneOk(channel_max=tune.method.channel_max, frame_max=tune.method.frame_max,
                                            heartbeat=0))
        self.send(0, spec.Connection.Open(virtual_host="/"))
        self.next()
        for i in range(channels):
            self.send(i + 1, spec.Channel.Open())
            self.next()
        return self


SCENARIOS = []


def scenario(f):
    SCENARIOS.append(f)
    return f


def soft(p, log, *methods):
    """Each method on channel 1 of p; a channel error is confirmed and the channel opened again."""
    for m in methods:
        log.append("-> " + show(frame.Method(1, m)))
        p.send(1, m)
        f = p.read(1, 2)
        if isinstance(f, frame.Method) and isinstance(f.method, pika_spec.Channel.Close):
            p.close_ok(1)
        if f is None or (isinstance(f, frame.Method) and isinstance(f.method, pika_spec.Connection.Close)):
            p = Peer(p.port, log).open()
    return p


def declare(q, **how):
    return spec.Queue.Declare(queue=q, **how)
