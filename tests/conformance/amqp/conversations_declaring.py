# The handshake, frames, and what is declared, wrongly above all.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
from pika import frame, spec as pika_spec

from conversation import Peer, declare, scenario, soft, spec


@scenario
def protocol_headers(port, log):
    for octets in (b"AMQP\x01\x01\x00\x09", b"AMQP\x00\x00\x09\x02", b"AMQP\x00\x00\x08\x00", b"HTTP/1.1", b"GET / HTTP", b"AMQP\x00\x01\x00\x00"):
        p = Peer(port, log)
        log.append("-> %r" % octets)
        p.raw(octets)
        f = p.next(2)
        log.append("<- " + ("start" if isinstance(f, frame.Method) else show(f) if isinstance(f, frame.ProtocolHeader) else repr(f)))
        p.socket.close()


@scenario
def handshake(port, log):
    p = Peer(port, log)
    f = p.start()
    log.append("%d.%d %s %s %s" % (f.method.version_major, f.method.version_minor,
                                   sorted(f.method.server_properties["capabilities"].items()),
                                   f.method.mechanisms.split() if isinstance(f.method.mechanisms, str) else f.method.mechanisms, f.method.locales))
    p.read()
    for tune in ((2047, 100, 60), (3000, 131072, 60), (0, 131072, 0), (2047, 0, 0), (2047, 200000, 0)):
        p = Peer(port, log)
        p.start()
        p.next()
        log.append("tune-ok %r" % (tune,))
        p.send(0, spec.Connection.TuneOk(*tune))
        p.send(0, spec.Connection.Open(virtual_host="/"))
        p.read()
    p = Peer(port, log)
    p.start()
    p.next()
    p.send(0, spec.Connection.TuneOk(2047, 131072, 0))
    p.rpc(0, spec.Connection.Open(virtual_host="nowhere"))
    p = Peer(port, log)
    p.start(mechanism="AMQPLAIN")
    p.read()
    p = Peer(port, log)
    p.start(mechanism="FOO")
    p.read()
    p = Peer(port, log)
    p.start(password="wrong")
    p.read()
    p = Peer(port, log)
    p.start(password="wrong", capabilities={})
    p.read()
    p = Peer(port, log)
    p.start(mechanism="PLAIN", user="x" * 20, password="")
    p.read()


@scenario
def frames(port, log):
    def on_open(octets, label):
        p = Peer(port, log).open()
        log.append("-> " + label)
        p.raw(octets)
        p.read(1, 2)
        p.socket.close()
    on_open(b"\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x0a\x00", "wrong frame end")
    on_open(b"\x09\x00\x01\x00\x00\x00\x01\x00\xce", "unknown frame type")
    on_open(b"\x08\x00\x01\x00\x00\x00\x00\xce", "heartbeat on a channel")
    on_open(b"\x08\x00\x00\x00\x00\x00\x01\x00\xce", "heartbeat with payload")
    on_open(b"\x01\x00\x01\x00\x10\x00\x00", "too large")
    on_open(b"\x01\x00\x02\x00\x00\x00\x04\x00\x32\x00\x0a\xce", "method on a closed channel")
    on_open(b"\x02\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x00" + b"\0" * 10 + b"\xce", "header without method")
    on_open(b"\x03\x00\x01\x00\x00\x00\x01x\xce", "body without method")
    on_open(b"\x03\x00\x00\x00\x00\x00\x01x\xce", "body on channel 0")
    on_open(b"\x01\x00\x01\x00\x00\x00\x04\x00\x77\x00\x01\xce", "unknown method")
    on_open(b"\x01\x00\x00\x00\x00\x00\x04\x00\x77\x00\x01\xce", "unknown method on channel 0")
    on_open(b"\x01\x00\x01\x00\x00\x00\x04\x00\x32\x00\x0a\xce", "truncated method")
    on_open(b"\x01\x00\x01\x00\x00\x00\x02\x00\x32\xce", "method without id")
    on_open(frame.Method(1, spec.Connection.Open()).marshal(), "connection method on channel 1")
    on_open(frame.Method(0, spec.Channel.Open()).marshal(), "channel method on channel 0")
    on_open(frame.Method(0, spec.Connection.Open()).marshal(), "connection.open twice")
    on_open(frame.Method(1, spec.Channel.Open()).marshal(), "channel.open twice")
    on_open(frame.Method(2047, spec.Channel.Open()).marshal(), "the last channel")
    on_open(frame.Method(2048, spec.Channel.Open()).marshal(), "channel number too high")
    on_open(frame.Method(1, spec.Queue.DeclareOk("q", 1, 1)).marshal(), "declare-ok from the client")
    on_open(frame.Method(1, spec.Channel.CloseOk()).marshal(), "close-ok unasked")
    on_open(frame.Method(1, spec.Channel.FlowOk(True)).marshal(), "flow-ok unasked")
    on_open(frame.Method(1, spec.Channel.Flow(False)).marshal(), "flow false")
    on_open(frame.Method(1, spec.Channel.Flow(True)).marshal(), "flow true")
    on_open(b"\x01\x00\x01\x00\x00\x00\x0c\x00\x1e\x00\x0a\x05/data\x00\xce", "access.request")
    publish = frame.Method(1, spec.Basic.Publish(exchange="", routing_key="nowhere")).marshal()
    on_open(publish + publish, "publish instead of header")
    on_open(publish + b"\x02\x00\x01\x00\x00\x00\x0e\x00\x32\x00\x00" + b"\0" * 10 + b"\xce", "header of another class")
    on_open(publish + frame.Header(1, 10, pika_spec.BasicProperties()).marshal() + publish, "publish instead of body")
    on_open(publish + b"\x02\x00\x01\x00\x00\x00\x0f\x00\x3c\x00\x00" + b"\0" * 8 + b"\xf0\x00\xff\xce", "bad properties")
    on_open(publish + b"\x02\x00\x01\x00\x00\x00\x0a\x00\x3c\x00\x00" + b"\0" * 6 + b"\xce", "short header")
    p = Peer(port, log).open()
    p.publish(1, "", "q", b"x" * 10, False, False, expiration="soon")
    p.read()
    p.send(1, spec.Channel.Close(0, "", 0, 0))
    p.rpc(1, spec.Channel.CloseOk())
    p = Peer(port, log).open()
    p.rpc(0, spec.Connection.Close(200, "bye", 0, 0), 2)


@scenario
def queues(port, log):
    p = Peer(port, log).open()
    soft(p, log,
         spec.Queue.Delete("dq"), spec.Queue.Delete("dq1"),
         declare("dq", passive=True), spec.Queue.Purge("dq"), spec.Queue.Bind("dq", "", "x"), spec.Queue.Bind("dq", "amq.direct", "x"),
         spec.Queue.Bind("", "amq.direct", ""), spec.Queue.Purge(""), spec.Queue.Unbind("dq", "amq.direct", "x"), spec.Basic.Get("dq"), spec.Basic.Consume("dq"),
         declare("dq"), declare("dq"), declare("dq", durable=True), declare("dq", auto_delete=True), declare("dq", exclusive=True), declare("dq", passive=True, durable=True),
         declare("dq", arguments={"x-message-ttl": 10}), declare("dq", arguments={"x-unknown": 10}),
         declare("amq.mine"), declare("amq.mine", passive=True),
         declare("dq1", arguments={"x-message-ttl": 1000}), declare("dq1"), declare("dq1", arguments={"x-message-ttl": 2000}),
         declare("dq1", arguments={"x-message-ttl": "1000"}), declare("dq1", arguments={"x-message-ttl": 1000, "x-max-length": 5}), declare("dq1", arguments={"x-message-ttl": 1000, "x-other": 5}),
         spec.Queue.Delete("dq1"),
         spec.Queue.Bind("dq", "nox", "k"), spec.Queue.Bind("dq", "", "k"), spec.Queue.Unbind("dq", "", "k"), spec.Queue.Unbind("dq", "nox", "k"), spec.Queue.Unbind("noq", "amq.direct", "k"),
         spec.Queue.Unbind("dq", "amq.direct", "not bound"),
         spec.Queue.Bind("dq", "amq.direct", "k"), spec.Queue.Bind("dq", "amq.headers", "k", arguments={"x-match": "foo"}), spec.Queue.Bind("dq", "amq.headers", "k", arguments={"x-match": 1}),
         spec.Queue.Delete("dq"), spec.Queue.Delete("dq"))
    for key, values in {
            "x-message-ttl": (-1, "a", 0, True, 2**32, 2**40, None), "x-expires": (0, -5, "a", 2**32, None), "x-max-length": (-1, "x", 0), "x-max-length-bytes": (-1, "x", 2**40),
            "x-overflow": ("drop-head", "nonsense", 3, "reject-publish", "reject-publish-dlx"), "x-dead-letter-exchange": (3, "amq.direct", "nowhere"), "x-dead-letter-routing-key": ("k", 3),
            "x-single-active-consumer": (True, 1, "true"), "x-max-priority": (-1, 256, "x"), "x-queue-type": ("classic", "foo", 3), "x-queue-mode": ("lazy", "default", "foo", 3),
            "x-queue-version": (1, 2, 3, "a"), "x-queue-master-locator": ("min-masters", "foo", 3), "x-delivery-limit": (3, -1, "a"), "x-max-age": ("7D", "x"), "x-quorum-initial-group-size": (3,), "x-stream-max-segment-size-bytes": (5,)}.items():
        for v in values:
            p = soft(p, log, declare("dq2", arguments={key: v}))
            p.send(1, spec.Queue.Delete("dq2"))
            p.next()
    for key, values in {"x-delivery-limit": (3, -1, "a"), "x-max-priority": (3,), "x-overflow": ("reject-publish-dlx", "reject-publish"), "x-max-length": (4,), "x-queue-mode": ("lazy",), "x-message-ttl": (5,), "x-expires": (1000,)}.items():
        for v in values:
            p = soft(p, log, declare("dq3", durable=True, arguments={"x-queue-type": "quorum", key: v}))
            p.send(1, spec.Queue.Delete("dq3"))
            p.next()
    p = soft(p, log, declare("dq3", arguments={"x-queue-type": "quorum"}), declare("dq3", durable=True, exclusive=True, arguments={"x-queue-type": "quorum"}),
             declare("dq3", durable=True, auto_delete=True, arguments={"x-queue-type": "quorum"}), declare("", durable=True, arguments={"x-queue-type": "quorum"}),
             declare("dq4", durable=True, arguments={"x-queue-type": "classic"}), declare("dq4", durable=True), declare("dq4", durable=True, arguments={"x-queue-type": "quorum"}),
             spec.Queue.Delete("dq4"), declare("dq\r\n5"), declare("dq5", passive=True), spec.Queue.Delete("dq5"),
             declare("dq6", arguments={"x-dead-letter-routing-key": "k", "x-dead-letter-exchange": "amq.direct"}), declare("dq6", arguments={"x-dead-letter-routing-key": "k2", "x-dead-letter-exchange": "amq.direct"}), spec.Queue.Delete("dq6"))


@scenario
def exclusive(port, log):
    p = Peer(port, log).open()
    other = Peer(port, log).open()
    p.rpc(1, declare("dx", exclusive=True, durable=True))
    p.rpc(1, declare("dx", exclusive=True, durable=True))
    p.rpc(1, declare("dx", exclusive=True, durable=False))
    soft(other, log, declare("dx"), declare("dx", exclusive=True), declare("dx", passive=True), spec.Queue.Delete("dx"), spec.Queue.Purge("dx"), spec.Queue.Bind("dx", "amq.direct", "k"),
         spec.Basic.Consume("dx"), spec.Basic.Get("dx"))
    p.close_ok(1)
    p.send(1, declare("dx"))
    p.read()
    p.send(0, spec.Connection.Close(200, "", 0, 0))
    while p.next() is not None:
        pass
    soft(other, log, declare("dx", passive=True))


@scenario
def exchanges(port, log):
    p = Peer(port, log).open()
    X = spec.Exchange
    soft(p, log, X.Delete("de"), X.Delete("de2"), X.Declare("de", "direct", passive=True), X.Declare("de", "nonsense"), X.Declare("de", "direct"), X.Declare("de", "fanout"),
         X.Declare("de", "direct", durable=True), X.Declare("de", "direct", auto_delete=True), X.Declare("de", "direct", internal=True),
         X.Declare("de", "direct", arguments={"alternate-exchange": "amq.fanout"}), X.Declare("de", "direct", arguments={"foo": "amq.fanout"}), X.Declare("de", "fanout", passive=True), X.Declare("de", "nonsense", passive=True),
         X.Declare("de2", "direct", arguments={"alternate-exchange": 3}), X.Declare("de2", "direct", arguments={"alternate-exchange": "amq.fanout"}),
         X.Declare("de2", "direct"), X.Declare("de2", "direct", arguments={"alternate-exchange": "amq.topic"}), X.Declare("amq.mine", "direct"), X.Declare("amq.direct", "direct"),
         X.Declare("amq.direct", "direct", durable=True), X.Declare("amq.direct", "fanout", durable=True), X.Declare("", "direct"), X.Declare("", "direct", durable=True), X.Declare("", "direct", passive=True),
         X.Delete(""), X.Delete("amq.direct"), X.Delete("amq.nothing"), X.Delete("nothing"), X.Delete("nothing", if_unused=True),
         X.Bind("de", "de2", "k"), X.Bind("nox", "de2", "k"), X.Bind("de", "nox", "k"), X.Bind("", "de2", "k"), X.Bind("de", "", "k"), X.Delete("de2", if_unused=True), X.Delete("de", if_unused=True),
         X.Unbind("de", "de2", "k"), X.Unbind("de", "de2", "k"), X.Unbind("nox", "de2", "k"), X.Unbind("de", "nox", "k"), X.Delete("de2", if_unused=True), X.Delete("de2"), X.Delete("de"))
