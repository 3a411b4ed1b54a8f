# What is delivered, in which order, how it is marked, and where it goes when nobody takes it.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import struct
import time

from pika import frame, spec as pika_spec

from conversation import Peer, declare, scenario, show, soft, spec

B, Q, X = spec.Basic, spec.Queue, spec.Exchange


def fresh(p, *queues, **how):
    for q in queues:
        p.send(1, Q.Delete(q))
        p.next()
        p.rpc(1, declare(q, **how))


def away(p, queues=(), exchanges=()):
    for q in queues:
        p.rpc(1, Q.Delete(q))
    for x in exchanges:
        p.rpc(1, X.Delete(x))


def drain(p, queue, channel=1, limit=20):
    """Everything that is in it, as it comes."""
    for _ in range(limit):
        if p.get(channel, queue) is None:
            return


def deaths(p, queue, wait=3):
    """Dead letters, with all that is said of their deaths but the time."""
    end = time.monotonic() + wait
    while time.monotonic() < end:
        p.send(1, B.Get(queue, no_ack=True))
        got = p.next()
        if isinstance(got.method, pika_spec.Basic.GetEmpty):
            time.sleep(0.05)
            continue
        properties = p.next().properties
        body = p.next().fragment if p.last_size else b""
        headers = dict(properties.headers or {})
        for death in headers.get("x-death", []):
            death.pop("time", None)
        p.log.append("<- dead %r %r %r expiration=%r %r" % (body, got.method.exchange, got.method.routing_key, properties.expiration,
                                                           sorted((k, repr(sorted(v[0].items())) if k == "x-death" and len(v) == 1 else repr(v))
                                                                  for k, v in headers.items())))
        return
    p.log.append("<- no dead letter")


@scenario
def returned_to_their_places(port, log):
    p = Peer(port, log).open()
    fresh(p, "dr")
    for n in range(6):
        p.publish(1, "", "dr", b"%d" % n)
    tags = [p.get(1, "dr", no_ack=False) for _ in range(4)]
    p.send(1, B.Nack(tags[1], requeue=True))
    p.get(1, "dr", no_ack=False)                        # 1 again, before 4
    p.send(1, B.Nack(tags[3], multiple=True, requeue=True))
    drain(p, "dr")
    p.rpc(1, Q.Delete("dr"))
    fresh(p, "dr")
    for n in range(4):
        p.publish(1, "", "dr", b"%d" % n)
    tags = [p.get(1, "dr", no_ack=False) for _ in range(3)]
    p.send(1, B.Reject(tags[1], requeue=False))
    p.send(1, B.Nack(0, multiple=True, requeue=True))
    drain(p, "dr")
    p.publish(1, "", "dr", b"held")
    p.get(1, "dr", no_ack=False)
    p.rpc(1, spec.Channel.Close(0, "", 0, 0))
    p.rpc(1, spec.Channel.Open())
    p.get(1, "dr", no_ack=False)
    p.socket.close()
    p = Peer(port, log).open()
    time.sleep(0.3)
    p.count(1, "dr")
    p.get(1, "dr")
    p.rpc(1, Q.Delete("dr"))


@scenario
def recovered(port, log):
    p = Peer(port, log).open()
    fresh(p, "dv")
    for n in range(3):
        p.publish(1, "", "dv", b"%d" % n)
    p.rpc(1, B.Qos(0, 0, False))
    p.rpc(1, B.Consume("dv", consumer_tag="t"), 1 + 9)
    p.rpc(1, B.Recover(True), 1 + 9)
    p.send(1, B.RecoverAsync(True))
    p.read(9)
    p.send(1, B.Ack(9, multiple=True))
    p.rpc(1, B.Cancel("t"))
    p.rpc(1, B.Recover(True))
    p.rpc(1, Q.Delete("dv"))
    p.rpc(1, B.RecoverAsync(False))


@scenario
def confirmed_and_returned(port, log):
    p = Peer(port, log).open()
    fresh(p, "dk", "dk2")
    fresh(p, "dk3", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    p.rpc(1, spec.Confirm.Select(nowait=False))
    p.publish(1, "", "dk", b"1")
    p.publish(1, "", "nowhere", b"2")
    p.confirmed(1, [1, 2])
    p.publish(1, "", "nowhere", b"3", mandatory=True)
    p.publish(1, "", "nowhere", b"4", mandatory=True)
    p.confirmed(1, [3, 4], returned=[3, 4])
    p.publish(1, "", "dk3", b"5")
    p.confirmed(1, [5])
    p.publish(1, "", "dk3", b"6")
    p.publish(1, "", "dk", b"7")
    p.confirmed(1, [6, 7])
    p.rpc(1, X.Declare("dkx", "fanout"))
    for q in ("dk", "dk2", "dk3"):
        p.rpc(1, Q.Bind(q, "dkx", ""))
    p.publish(1, "dkx", "", b"8")                       # one of three refuses it
    p.confirmed(1, [8])
    p.count(1, "dk2")
    p.count(1, "dk3")
    p.publish(1, "amq.fanout", "", b"9", mandatory=True)
    p.confirmed(1, [9], returned=[9])
    p.publish(1, "nox", "", b"10")
    p.read()
    p.close_ok(1)
    p.publish(1, "", "dk", b"11")                       # the new channel has no confirms
    p.rest()
    away(p, ("dk", "dk2", "dk3"), ("dkx",))


@scenario
def deaths_by_age_and_rejection(port, log):
    p = Peer(port, log).open()
    fresh(p, "da-grave")
    dlx = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "da-grave"}
    fresh(p, "da-ttl", arguments=dict(dlx, **{"x-message-ttl": 50}))
    p.publish(1, "", "da-ttl", b"old", headers={"k": "v"}, delivery_mode=2, content_type="text/plain", message_id="m")
    deaths(p, "da-grave")
    p.publish(1, "", "da-ttl", b"its own", expiration="10")
    deaths(p, "da-grave")
    p.publish(1, "", "da-ttl", b"longer", expiration="100000")
    deaths(p, "da-grave")
    fresh(p, "da-no", arguments=dlx)
    p.publish(1, "", "da-no", b"expires", expiration="0")
    deaths(p, "da-grave")
    for how in (B.Reject(1, requeue=False), B.Nack(2, requeue=False)):
        p.publish(1, "", "da-no", b"rejected", headers={"CC": ["elsewhere"], "BCC": ["hidden"]})
        p.get(1, "da-no", no_ack=False)
        p.send(1, how)
        deaths(p, "da-grave")
    fresh(p, "da-zero", arguments=dict(dlx, **{"x-message-ttl": 0}))
    p.publish(1, "", "da-zero", b"now")
    deaths(p, "da-grave")
    p.rpc(1, B.Consume("da-zero", consumer_tag="t", no_ack=True))
    p.publish(1, "", "da-zero", b"taken")
    p.read(3)
    away(p, ("da-ttl", "da-no", "da-zero", "da-grave"))


@scenario
def deaths_again_and_again(port, log):
    """Two queues that throw messages at each other: expired round trips end, rejected ones count."""
    p = Peer(port, log).open()
    fresh(p, "dc-a", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dc-b"})
    fresh(p, "dc-b", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dc-c", "x-message-ttl": 30})
    fresh(p, "dc-c", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dc-a"})
    p.publish(1, "", "dc-a", b"round")
    for turn in range(3):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            p.send(1, B.Get("dc-a"))
            got = p.next()
            if isinstance(got.method, pika_spec.Basic.GetOk):
                break
            time.sleep(0.02)
        headers = p.next().properties.headers or {}
        p.next()
        p.said("turn %d: %r" % (turn, [sorted((k, v) for k, v in d.items() if k != "time") for d in headers.get("x-death", [])]))
        p.send(1, B.Reject(got.method.delivery_tag, requeue=False))
        end = time.monotonic() + 2
        while time.monotonic() < end:
            p.send(1, B.Get("dc-c"))
            got = p.next()
            if isinstance(got.method, pika_spec.Basic.GetOk):
                break
            time.sleep(0.02)
        p.next(), p.next()
        p.send(1, B.Reject(got.method.delivery_tag, requeue=False))
    time.sleep(0.2)
    away(p, ("dc-a", "dc-b", "dc-c"))
    fresh(p, "dc-self", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dc-self", "x-message-ttl": 20})
    p.publish(1, "", "dc-self", b"a cycle that nobody broke")
    time.sleep(0.4)
    p.count(1, "dc-self")
    away(p, ("dc-self",))


@scenario
def too_long(port, log):
    p = Peer(port, log).open()
    fresh(p, "dm-grave")
    dlx = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dm-grave"}
    fresh(p, "dm-head", arguments=dict(dlx, **{"x-max-length": 2}))
    for n in range(4):
        p.publish(1, "", "dm-head", b"%d" % n)
    deaths(p, "dm-grave")
    deaths(p, "dm-grave")
    p.count(1, "dm-head")
    p.get(1, "dm-head", no_ack=False)                   # what is out does not count
    p.publish(1, "", "dm-head", b"4")
    p.count(1, "dm-head")
    drain(p, "dm-head")
    fresh(p, "dm-bytes", arguments={"x-max-length-bytes": 10})
    for n in range(3):
        p.publish(1, "", "dm-bytes", b"12345")
    p.count(1, "dm-bytes")
    p.publish(1, "", "dm-bytes", b"much too long for it")
    p.count(1, "dm-bytes")
    drain(p, "dm-bytes")
    fresh(p, "dm-dlx", arguments=dict(dlx, **{"x-max-length": 1, "x-overflow": "reject-publish-dlx"}))
    p.rpc(1, spec.Confirm.Select())
    p.publish(1, "", "dm-dlx", b"fits")
    p.confirmed(1, [1])
    p.publish(1, "", "dm-dlx", b"does not")
    p.confirmed(1, [2])
    deaths(p, "dm-grave")
    fresh(p, "dm-zero", arguments={"x-max-length": 0})
    p.publish(1, "", "dm-zero", b"nobody waits")
    p.confirmed(1, [3])
    p.count(1, "dm-zero")
    away(p, ("dm-head", "dm-bytes", "dm-dlx", "dm-zero", "dm-grave"))


@scenario
def priorities(port, log):
    p = Peer(port, log).open()
    fresh(p, "dp-p", arguments={"x-max-priority": 3})
    for priority in (0, 3, None, 1, 9, 2, 3, 0):
        p.publish(1, "", "dp-p", b"%d" % (priority or 0), **({} if priority is None else {"priority": priority}))
    drain(p, "dp-p")
    p.publish(1, "", "dp-p", b"low", priority=0)
    p.get(1, "dp-p", no_ack=False)
    p.publish(1, "", "dp-p", b"high", priority=3)
    p.send(1, B.Nack(0, multiple=True, requeue=True))
    drain(p, "dp-p")
    soft(p, log, declare("dp-p", arguments={"x-max-priority": 4}), declare("dp-p"), declare("dp-p2", arguments={"x-max-priority": 256}),
         declare("dp-p2", arguments={"x-max-priority": -1}), declare("dp-p2", arguments={"x-max-priority": 0}), Q.Delete("dp-p2"))
    away(p, ("dp-p",))


@scenario
def consumers(port, log):
    p = Peer(port, log).open(3)
    fresh(p, "dn")
    p.rpc(1, B.Consume("dn", consumer_tag="a"))
    p.rpc(2, B.Consume("dn", consumer_tag="a"))
    p.rpc(3, B.Consume("dn", consumer_tag="low", arguments={"x-priority": -1}))
    p.count(1, "dn")
    for n in range(2):
        p.publish(1, "", "dn", b"x")
    got = [p.next() for _ in range(6)]
    p.said("to %s" % sorted(f.channel_number for f in got if isinstance(f, frame.Method)))
    p.rpc(2, B.Cancel("a"))
    p.rpc(3, B.Cancel("low"))
    p.rpc(1, Q.Delete("dn"))
    p.read()
    fresh(p, "dn")
    for channel in (1, 2, 3):
        p.rpc(channel, B.Consume("dn", consumer_tag="again"))
    p.send(1, Q.Delete("dn", nowait=True))
    p.said("told %s" % sorted((f.channel_number, f.method.NAME, f.method.consumer_tag) for f in [p.next() for _ in range(3)]))
    p.send(1, B.Ack(1))                                 # its queue has gone; its deliveries can still be settled
    p.send(1, B.Ack(1))
    p.read()
    p.close_ok(1)
    q = Peer(port, log).open(1, capabilities={})
    fresh(q, "dn2")
    q.rpc(1, B.Consume("dn2", consumer_tag="untold"))
    q.rpc(1, Q.Delete("dn2"))
    q.rest()
    fresh(p, "dn3")
    p.rpc(1, B.Consume("dn3", consumer_tag="", no_ack=True))
    p.rpc(1, B.Consume("dn3", consumer_tag="nowait", nowait=True))
    p.rpc(1, B.Cancel("nowait", nowait=True))
    p.count(1, "dn3")
    p.rpc(2, B.Consume("dn3", consumer_tag="x", exclusive=True))
    p.close_ok(2)
    away(p, ("dn3",))


@scenario
def single_active(port, log):
    p = Peer(port, log).open(2)
    fresh(p, "ds1", arguments={"x-single-active-consumer": True})
    p.rpc(1, B.Consume("ds1", consumer_tag="first"))
    p.rpc(2, B.Consume("ds1", consumer_tag="second"))
    p.publish(1, "", "ds1", b"1")
    p.publish(1, "", "ds1", b"2")
    p.read(6)
    p.rpc(1, B.Cancel("first"))
    p.publish(1, "", "ds1", b"3")
    p.read(3)
    p.send(1, B.Nack(1, requeue=True))
    p.read(3)
    p.rpc(1, B.Consume("ds1", consumer_tag="x", exclusive=True))
    p.close_ok(1)
    p.rest()
    p.send(1, Q.Delete("ds1"))
    p.said("told %s" % sorted(show(p.next()) for _ in range(2)))        # two channels: in any order


@scenario
def prefetched(port, log):
    p = Peer(port, log).open()
    fresh(p, "df")
    for n in range(8):
        p.publish(1, "", "df", b"%d" % n)
    p.rpc(1, B.Qos(0, 2, False))
    p.rpc(1, B.Consume("df", consumer_tag="two"), 1 + 6)
    p.rest()
    p.rpc(1, B.Qos(0, 1, False))
    p.rpc(1, B.Consume("df", consumer_tag="one"), 1 + 3)
    p.rest()
    p.send(1, B.Ack(1))
    p.read(3)
    p.rest()
    p.send(1, B.Nack(3, requeue=False))
    p.read(3)
    p.rest()
    p.rpc(1, B.Qos(0, 4, True))                         # the channel's: 4 are out
    p.rest()
    p.get(1, "df", no_ack=False)                        # which get does not ask for
    p.rpc(1, B.Qos(0, 0, True))
    p.rest()
    p.rpc(1, Q.Delete("df"))
    p.said("told %s" % sorted(p.next().method.consumer_tag for _ in range(2)))


@scenario
def routed(port, log):
    p = Peer(port, log).open()
    fresh(p, "dw")
    p.rpc(1, X.Declare("dw-t", "topic"))
    keys = ["", "a", "a.b", "a.b.c", "a..c", ".", "b", "a.b.", ".a", "a.b.c.d"]
    for pattern in ("#", "*", "a.#", "#.c", "a.*", "*.b", "a.#.c", "*.*", "a..c", "#.#", "a.b.#.c", "", "*.#", "#.b.#", "**", "a#"):
        p.rpc(1, Q.Bind("dw", "dw-t", pattern))
        p.said(pattern)
        for key in keys:
            p.publish(1, "dw-t", key, key.encode() or b"empty")
        found = []
        for _ in keys:
            p.send(1, B.Get("dw", no_ack=True))
            if isinstance(p.next().method, pika_spec.Basic.GetEmpty):
                break
            p.next()
            found.append(p.next().fragment)
        p.said("%r" % found)
        p.rpc(1, Q.Unbind("dw", "dw-t", pattern))
    p.rpc(1, X.Declare("dw-h", "headers"))
    for arguments in ({}, {"x-match": "any"}, {"a": 1}, {"a": 1, "b": "x"}, {"x-match": "any", "a": 1, "b": "x"}, {"a": None},
                      {"x-match": "all", "x-a": 1}, {"x-match": "any", "x-a": 1, "c": 5}, {"a": True}, {"a": "1"}):
        p.rpc(1, Q.Bind("dw", "dw-h", "", arguments=arguments))
        p.said("%r" % arguments)
        for headers in ({}, {"a": 1}, {"a": "1"}, {"b": "x"}, {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"x-a": 1}, {"a": None}, {"a": True}, {"a": 2**40}):
            p.publish(1, "dw-h", "", repr(headers).encode(), headers=headers)
        found = []
        for _ in range(10):
            p.send(1, B.Get("dw", no_ack=True))
            if isinstance(p.next().method, pika_spec.Basic.GetEmpty):
                break
            p.next()
            found.append(p.next().fragment)
        p.said("%r" % found)
        p.rpc(1, Q.Unbind("dw", "dw-h", "", arguments=arguments))
    away(p, ("dw",), ("dw-t", "dw-h"))


@scenario
def exchanges_in_a_row(port, log):
    p = Peer(port, log).open()
    fresh(p, "dz")
    p.rpc(1, X.Declare("dz-last", "fanout"))
    p.rpc(1, X.Declare("dz-alt", "direct", arguments={"alternate-exchange": "dz-last"}))
    p.rpc(1, X.Declare("dz-in", "fanout", internal=True))
    p.rpc(1, X.Declare("dz-auto", "direct", auto_delete=True))
    p.publish(1, "dz-alt", "k", b"returned", mandatory=True)
    p.read(3)
    p.rpc(1, Q.Bind("dz", "dz-last", ""))
    p.publish(1, "dz-alt", "k", b"by the alternate", mandatory=True)
    p.rest(0.2)
    p.get(1, "dz")
    p.rpc(1, X.Bind("dz-in", "dz-auto", "k"))
    p.rpc(1, Q.Bind("dz", "dz-in", ""))
    p.rpc(1, X.Bind("dz-auto", "dz-in", ""))            # a circle
    p.publish(1, "dz-auto", "k", b"once")
    p.rest(0.2)
    p.get(1, "dz")
    p.get(1, "dz")
    p.rpc(1, X.Unbind("dz-in", "dz-auto", "k"))         # its last binding: it goes
    soft(p, log, X.Declare("dz-auto", "direct", passive=True))
    p.rpc(1, X.Bind("dz-in", "dz-alt", "k", nowait=True), 0)
    p.rpc(1, X.Unbind("dz-in", "dz-alt", "k", nowait=True), 0)
    p.rest(0.2)
    soft(p, log, X.Delete("dz-alt", if_unused=True), X.Delete("dz-last", if_unused=True), X.Declare("dz-last", "fanout", nowait=True))
    away(p, ("dz",), ("dz-last", "dz-in"))


@scenario
def in_many_frames(port, log):
    p = Peer(port, log).open()
    fresh(p, "dy")
    p.send(1, B.Publish(exchange="", routing_key="dy"))
    p.raw(frame.Header(1, 5, pika_spec.BasicProperties()).marshal())
    for octet in b"12345":
        p.raw(frame.Body(1, bytes([octet])).marshal())
    p.get(1, "dy")
    p.send(1, B.Publish(exchange="", routing_key="dy"))
    p.raw(frame.Header(1, 2, pika_spec.BasicProperties()).marshal() + frame.Body(1, b"").marshal() + frame.Body(1, b"ab").marshal())
    p.get(1, "dy")
    big = bytes(range(256)) * 2048
    p.send(1, B.Publish(exchange="", routing_key="dy"))
    p.raw(frame.Header(1, len(big), pika_spec.BasicProperties()).marshal())
    for at in range(0, len(big), 131064):
        p.raw(frame.Body(1, big[at:at + 131064]).marshal())
    p.send(1, B.Get("dy", no_ack=True))
    sizes = []
    while sum(sizes) < len(big):
        f = p.next()
        if isinstance(f, frame.Body):
            sizes.append(len(f.fragment))
    p.said("body frames of %r" % sizes)
    p.send(1, B.Publish(exchange="", routing_key="dy"))
    p.raw(frame.Header(1, 2, pika_spec.BasicProperties()).marshal() + frame.Body(1, b"too much").marshal())
    p.read()
    p = Peer(port, log)
    p.start()
    p.next()
    p.send(0, spec.Connection.TuneOk(10, 8192, 0))
    p.send(0, spec.Connection.Open(virtual_host="/"))
    p.next()
    p.rpc(1, spec.Channel.Open())
    p.publish(1, "", "dy", b"x" * 8000 + b"y" * 8000)
    p.read()                                            # that frame was too large
    p = Peer(port, log).open()
    away(p, ("dy",))


def raw_table(*fields):
    octets = b"".join(struct.pack("B", len(name)) + name + value for name, value in fields)
    return struct.pack(">I", len(octets)) + octets


@scenario
def every_property(port, log):
    """Properties and headers of every type come back as the bytes that were sent."""
    p = Peer(port, log).open()
    fresh(p, "dg")
    headers = raw_table((b"t", b"t\x01"), (b"b", b"b\xff"), (b"B", b"B\xff"), (b"s", b"s\x80\x00"), (b"u", b"u\x80\x00"),
                        (b"I", b"I\x80\0\0\0"), (b"i", b"i\x80\0\0\0"), (b"l", b"l" + b"\x80" + b"\0" * 7), (b"f", b"f\x3f\x80\0\0"),
                        (b"d", b"d\x3f\xf0" + b"\0" * 6), (b"D", b"D\x02\0\0\x01\0"), (b"S", b"S\0\0\0\x02\xff\0"), (b"A", b"A\0\0\0\x03V" + b"t\0"),
                        (b"T", b"T" + b"\0" * 7 + b"\x01"), (b"F", b"F" + raw_table((b"k", b"V"))), (b"V", b"V"), (b"x", b"x\0\0\0\x01\x00"))
    short = lambda s: struct.pack("B", len(s)) + s
    flags = 0b1111111111111100
    values = (short(b"a/b") + short(b"gzip") + headers + b"\x02" + b"\x07" + short(b"corr") + short(b"reply") + short(b"60000") + short(b"id")
              + struct.pack(">Q", 2**63) + short(b"type") + short(b"guest") + short(b"app") + short(b"cluster"))
    payload = struct.pack(">HHQH", 60, 0, 1, flags) + values
    p.send(1, B.Publish(exchange="", routing_key="dg"))
    p.raw(struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce" + frame.Body(1, b"x").marshal())
    p.send(1, B.Get("dg", no_ack=True))
    time.sleep(0.5)
    got = p.socket.recv(65536)
    p.said("the same bytes: %s" % (payload in got))
    for wrong, name in ((b"Z\0", "an unknown type"), (b"S\0\0\xff\xff", "longer than it is"), (b"A\0\0\0\x09V", "an array that ends early")):
        p = Peer(port, log).open()
        payload = struct.pack(">HHQH", 60, 0, 1, 1 << 13) + raw_table((b"k", wrong))
        p.said(name)
        p.send(1, B.Publish(exchange="", routing_key="dg"))
        p.raw(struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce" + frame.Body(1, b"x").marshal())
        p.read(1, 2)
        p.socket.close()
    p = Peer(port, log).open()
    away(p, ("dg",))


@scenario
def replies(port, log):
    p, q = Peer(port, log).open(2), Peer(port, log).open()
    fresh(q, "di")
    name = "amq.rabbitmq.reply-to"
    soft(p, log, B.Consume(name, no_ack=False), declare(name, passive=True), Q.Bind(name, "amq.direct", "k"), Q.Delete("nothing"))
    p.publish(1, "", "di", b"without a consumer", reply_to=name)
    p.read()
    p.close_ok(1)
    p.rpc(1, B.Consume(name, consumer_tag="r", no_ack=True))
    soft(p, log, B.Consume(name, consumer_tag="r2", no_ack=True))
    p.rpc(1, B.Consume(name, consumer_tag="r", no_ack=True))
    p.publish(1, "", "di", b"ask", reply_to=name, correlation_id="7")
    time.sleep(0.2)
    q.send(1, B.Get("di", no_ack=True))
    q.next()
    to = q.next().properties.reply_to
    q.next()
    q.said("to a reply queue: %s" % to.startswith(name + "."))
    q.publish(1, "", to, b"answer", correlation_id="7")
    p.read(3)
    p.rpc(1, B.Cancel("r"))
    q.publish(1, "", to + "x", b"to nobody", mandatory=True)
    q.read(3)
    q.rest(0.2)
    away(q, ("di",))


@scenario
def quorum_queues(port, log):
    p = Peer(port, log).open()
    quorum = {"x-queue-type": "quorum"}
    p.send(1, Q.Delete("dqq")); p.next()
    p = soft(p, log, *[declare("dqq", durable=how.pop("durable", True), arguments=dict(quorum, **how.pop("arguments", {})), **how) for how in (
        {"durable": False}, {"exclusive": True}, {"auto_delete": True}, {"arguments": {"x-max-priority": 5}}, {"arguments": {"x-queue-mode": "lazy"}},
        {"arguments": {"x-overflow": "reject-publish-dlx"}}, {"arguments": {"x-delivery-limit": -1}}, {"arguments": {"x-quorum-initial-group-size": 0}},
        {"arguments": {"x-dead-letter-strategy": "perhaps"}}, {"arguments": {"x-max-age": "1D"}}, {"arguments": {"x-queue-version": 2}},
        {"arguments": {"x-max-in-memory-length": -1}})])
    p.rpc(1, Q.Delete("dqq"))
    p = soft(p, log, declare("", durable=True, arguments=quorum), declare("dqq", durable=True, arguments={"x-queue-type": "nonsense"}),
             declare("dqq", durable=True, arguments={"x-queue-type": 5}))
    p.rpc(1, declare("dqq", durable=True, arguments=dict(quorum, **{"x-delivery-limit": 2})))
    p = soft(p, log, declare("dqq", durable=True), declare("dqq", durable=True, arguments={"x-queue-type": "classic"}),
             declare("dqq", durable=True, arguments=dict(quorum, **{"x-delivery-limit": 3})), declare("dqc", durable=True),
             declare("dqc", durable=True, arguments=quorum), declare("dqc", durable=True, arguments={"x-queue-type": "classic"}), Q.Delete("dqc"))
    for method in (Q.Delete("dqq", if_unused=True), Q.Delete("dqq", if_empty=True), B.Qos(0, 2, True)):
        p = soft(p, log, method)
    p = soft(Peer(port, log).open(), log, declare("dqs", durable=True, arguments=dict(quorum, **{"x-single-active-consumer": True})),
             B.Get("dqs"), Q.Delete("dqs"))
    p.publish(1, "", "dqq", b"thrice", delivery_mode=2)
    time.sleep(0.3)
    for _ in range(4):
        tag = p.get(1, "dqq", no_ack=False)
        if tag is None:
            break
        p.send(1, B.Reject(tag, requeue=True))
        time.sleep(0.3)
    p.rpc(1, Q.Purge("dqq"))
    p.rpc(1, Q.Delete("dqq"))


@scenario
def nobody_waits(port, log):
    """nowait: no answer when it is done, and the error when it is not."""
    p = Peer(port, log).open()
    p.send(1, Q.Delete("du", nowait=True))
    p.send(1, Q.Declare("du", nowait=True))
    p.send(1, Q.Bind("du", "amq.direct", "k", nowait=True))
    p.send(1, Q.Purge("du", nowait=True))
    p.send(1, spec.Confirm.Select(nowait=True))
    p.count(1, "du")
    for wrong in (Q.Declare("du", durable=True, nowait=True), Q.Bind("du", "nox", "k", nowait=True), Q.Purge("noq", nowait=True),
                  X.Declare("amq.direct", "fanout", durable=True, nowait=True), B.Consume("noq", nowait=True)):
        p = soft(p, log, wrong)
    away(p, ("du",))


@scenario
def names(port, log):
    p = Peer(port, log).open()
    long = "n" * 255
    p = soft(p, log, declare(long), Q.Delete(long), declare("a\nb\r"), Q.Delete("ab"), declare("ü€"), Q.Delete("ü€"), X.Declare("x\n", "direct"),
             X.Delete("x"), X.Declare(long, "direct"), X.Delete(long), declare("AMQ.upper"), Q.Delete("AMQ.upper"), declare("amq."), X.Declare("amq.", "direct"))
    p.rpc(1, declare(""))
    p.rpc(1, Q.Bind("", "amq.direct", "key of the last"))
    p.rpc(1, Q.Purge(""))
    p.get(1, "")
    p.rpc(1, Q.Delete(""))
    p = soft(p, log, Q.Delete(""), Q.Purge(""))


@scenario
def closing(port, log):
    p = Peer(port, log).open(3)
    fresh(p, "dh")
    p.rpc(2, spec.Channel.Close(200, "", 0, 0))
    p.rpc(2, spec.Channel.Open())
    p.rpc(2, B.Ack(1))                                  # of the channel that was
    p.send(2, B.Ack(1))                                 # after the error, before close-ok: passed over
    p.send(2, Q.Declare("never", passive=True))
    p.rest(0.2)
    p.rpc(2, spec.Channel.Close(200, "", 0, 0))         # both close
    p.send(2, spec.Channel.CloseOk())
    p.rpc(2, spec.Channel.Open())
    p.publish(3, "", "dh", b"x")
    p.rpc(3, spec.Channel.Close(200, "", 0, 0))
    time.sleep(0.2)
    p.get(1, "dh", no_ack=False)
    p.rpc(2, B.Ack(1))                                  # another channel's
    p.close_ok(2)
    p.send(1, B.Ack(1))
    p.rpc(2, spec.Channel.Close(200, "", 0, 0))
    p.rpc(2, Q.Declare("dh", passive=True))             # it is closed
    p = Peer(port, log).open(2)
    p.rpc(2, Q.Purge("noq"))
    p.rpc(2, spec.Channel.Open())                       # before the close-ok that is owed
    p = Peer(port, log).open()
    away(p, ("dh",))


@scenario
def vanishing(port, log):
    p = Peer(port, log).open(2)
    p.rpc(1, declare("de-x", arguments={"x-expires": 100}))
    time.sleep(0.6)
    p = soft(p, log, declare("de-x", passive=True))
    p.rpc(1, declare("de-a", auto_delete=True))
    p.rpc(1, B.Consume("de-a", consumer_tag="t"))
    p.rpc(1, B.Cancel("t"))
    time.sleep(0.2)
    p = soft(p, log, declare("de-a", passive=True))
    p.rpc(1, declare("de-b", auto_delete=True))
    p.rpc(1, B.Get("de-b"))                             # no consumer ever: it stays
    p.rpc(1, declare("de-b", passive=True))
    away(p, ("de-b",))
    q = Peer(port, log).open()
    q.rpc(1, declare("de-c", exclusive=True, durable=True))
    p = soft(p, log, B.Consume("de-c"), Q.Delete("de-c"), Q.Unbind("de-c", "amq.direct", "k"))
    p.publish(1, "", "de-c", b"publishing is for everybody")
    time.sleep(0.2)
    q.rpc(1, Q.Delete("de-c"))


@scenario
def heartbeats(port, log):
    p = Peer(port, log)
    p.start()
    p.next()
    p.send(0, spec.Connection.TuneOk(10, 131072, 1))
    p.send(0, spec.Connection.Open(virtual_host="/"))
    p.read()
    p.socket.settimeout(2)
    try:
        octets = p.socket.recv(100)
    except OSError:
        octets = b""
    p.said("a heartbeat: %r" % octets[:8])
    end = time.monotonic() + 6
    try:
        while time.monotonic() < end and p.socket.recv(100):
            pass
    except OSError:
        pass
    p.said("hung up on a silent client in time: %s" % (time.monotonic() < end))
