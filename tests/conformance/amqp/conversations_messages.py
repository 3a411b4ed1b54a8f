# Publishing, consuming, transactions, dead letters, streams, and exchanges of plugins.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

from pika import frame, spec as pika_spec

from conversation import Peer, declare, scenario, soft, spec


@scenario
def publishing(port, log):
    p = Peer(port, log).open()
    p.send(1, spec.Queue.Delete("dp"))
    p.next()
    p.rpc(1, declare("dp"))

    def closed(n=1):
        f = p.read(n)
        if isinstance(f, frame.Method) and isinstance(f.method, pika_spec.Channel.Close):
            p.close_ok(1)
    p.publish(1, "nox", "k"); closed()
    p.rpc(1, spec.Exchange.Declare("di", "fanout", internal=True))
    p.publish(1, "di", "k"); closed()
    p.publish(1, "", "dp", user_id="other"); closed()
    p.publish(1, "", "dp", user_id="guest")
    p.publish(1, "", "dp", expiration="soon"); closed()
    p.publish(1, "", "dp", expiration="-1"); closed()
    p.publish(1, "", "dp", expiration="1.5"); closed()
    p.publish(1, "", "dp", expiration=""); closed()
    p.publish(1, "", "dp", expiration="4294967296"); closed()
    p.publish(1, "", "dp", expiration="99999999999"); closed()
    p.publish(1, "", "dp", headers={"CC": "x"}); closed()
    p.publish(1, "", "dp", headers={"BCC": ["x", 3]}); closed()
    p.rpc(1, spec.Queue.Purge("dp"))
    p.publish(1, "", "nowhere", mandatory=True, headers={"a": 1}, message_id="m"); p.read(3)
    p.publish(1, "", "nowhere", b"", mandatory=True); p.read(2)
    p.rpc(1, spec.Confirm.Select())
    p.rpc(1, spec.Confirm.Select())
    p.publish(1, "", "nowhere"); p.read()
    p.publish(1, "", "nowhere", mandatory=True); p.read(4)
    p.publish(1, "", "dp"); p.read()
    p.publish(1, "", "dp", b""); p.read()
    p.rpc(1, spec.Tx.Select()); p.close_ok(1)
    p.rpc(1, spec.Tx.Commit()); p.close_ok(1)
    p.rpc(1, spec.Tx.Rollback()); p.close_ok(1)
    p.publish(1, "", "dp", b"cc", headers={"CC": ["dp", "dq9"], "BCC": ["dp8"], "z": "z"})
    p.rpc(1, spec.Basic.Get("dp", no_ack=True), 3)
    p.rpc(1, spec.Basic.Get("dp", no_ack=True), 2)
    p.rpc(1, spec.Basic.Get("dp", no_ack=True), 3)
    p.rpc(1, spec.Basic.Get("dp", no_ack=True), 1)
    p.rpc(1, spec.Queue.Delete("dp"))
    p.rpc(1, spec.Exchange.Delete("di"))
    p.publish(1, "", "dp", immediate=True); p.read()


@scenario
def consuming(port, log):
    p = Peer(port, log).open(2)
    B = spec.Basic
    for q in ("dc", "dc2"):
        p.send(1, spec.Queue.Delete(q)); p.next()
        p.rpc(1, declare(q))
    for i in range(4):
        p.publish(1, "", "dc", b"%d" % i, delivery_mode=1, headers={"n": i})
    p.rpc(1, B.Get("dc"), 3)
    p.rpc(1, B.Nack(1, requeue=True), 0)
    p.rpc(1, B.Get("dc"), 3)
    p.rpc(1, B.Ack(2), 0)
    p.rpc(1, B.Ack(2)); p.close_ok(1)
    p.rpc(1, B.Ack(0)); p.close_ok(1)
    p.rpc(1, B.Ack(0, multiple=True), 0)
    p.rpc(1, B.Reject(7)); p.close_ok(1)
    p.rpc(1, B.Nack(7, multiple=True)); p.close_ok(1)
    p.rpc(1, B.Qos(10, 1, False)); p = Peer(port, log).open(2)
    p.rpc(1, B.Qos(0, 2, False))
    p.rpc(1, B.Consume("dc", consumer_tag="t"), 7)
    p.rpc(1, declare("dc", passive=True))
    p.rpc(1, B.Ack(1), 3)
    p.rpc(1, B.Cancel("t"))
    p.rpc(1, B.Cancel("unknown"))
    p.rpc(1, B.Recover(True))
    p.rpc(1, B.Get("dc"), 3)
    p.rpc(1, B.Get("dc"), 3)
    p.rpc(1, B.Get("dc"), 1)
    p.rpc(1, spec.Channel.Close(0, "", 0, 0)); p.rpc(1, spec.Channel.Open())
    p.rpc(1, B.Consume("dc", consumer_tag="x", exclusive=True), 7)
    p.rpc(2, B.Consume("dc")); p.close_ok(2)
    p.rpc(2, spec.Queue.Delete("dc", if_unused=True)); p.close_ok(2)
    p.rpc(1, B.Cancel("x"))
    p.rpc(1, B.Consume("dc2", consumer_tag="y"), 1)
    p.rpc(2, B.Consume("dc2", exclusive=True)); p.close_ok(2)
    p.rpc(2, B.Consume("dc2", arguments={"x-priority": "a"})); p.close_ok(2)
    p.rpc(2, B.Consume("dc2", consumer_tag="z", arguments={"x-priority": 5}), 1)
    p.rpc(1, spec.Queue.Delete("dc", if_empty=True)); p.close_ok(1)
    p.rpc(1, spec.Queue.Delete("dc2"), 2); p.rest()
    p.rpc(1, spec.Queue.Delete("dc"))
    p.rpc(1, B.Recover(False)); p = Peer(port, log).open(2)
    p.rpc(1, declare("dc3", auto_delete=True))
    p.rpc(1, B.Consume("dc3", consumer_tag="a"), 1)
    p.rpc(1, B.Consume("dc3", consumer_tag="a"), 1); p = Peer(port, log).open(2)
    p.rpc(1, declare("dc3", passive=True))


@scenario
def transactions(port, log):
    p = Peer(port, log).open(2)
    p.send(2, spec.Queue.Delete("dt")); p.next()
    p.rpc(2, declare("dt"))
    p.rpc(1, spec.Tx.Commit()); p.close_ok(1)
    p.rpc(1, spec.Tx.Select())
    p.rpc(1, spec.Tx.Select())
    p.publish(1, "", "dt", b"1"); p.publish(1, "", "dt", b"2")
    p.publish(1, "", "nowhere", b"3", mandatory=True, message_id="m")
    p.rest()
    p.rpc(2, declare("dt", passive=True))
    p.rpc(1, spec.Tx.Commit(), 4)
    p.rpc(2, declare("dt", passive=True))
    p.publish(1, "", "dt", b"never")
    p.rpc(1, spec.Tx.Rollback())
    p.rpc(2, declare("dt", passive=True))
    p.rpc(1, spec.Basic.Get("dt"), 3)
    p.rpc(1, spec.Basic.Get("dt"), 3)
    p.send(1, spec.Basic.Ack(2))
    p.rpc(1, spec.Tx.Rollback())
    p.send(1, spec.Basic.Ack(1))
    p.send(1, spec.Basic.Reject(2, requeue=True))
    p.rpc(1, spec.Tx.Commit())
    p.rpc(2, spec.Basic.Get("dt"), 3)
    p.rpc(2, spec.Basic.Get("dt"), 1)
    p.send(1, spec.Basic.Ack(1)); p.read(); p.close_ok(1)
    p.rpc(1, spec.Tx.Select())
    p.rpc(1, spec.Confirm.Select()); p.close_ok(1)
    p.rpc(2, spec.Queue.Delete("dt"))


@scenario
def dead_letters(port, log):
    p = Peer(port, log).open()
    for q in ("dl", "dl2"):
        p.send(1, spec.Queue.Delete(q)); p.next()
    p.rpc(1, declare("dl", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dl2", "x-max-length": 2}))
    p.rpc(1, declare("dl2", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dl"}))

    def look(q):
        time.sleep(0.5)
        p.send(1, spec.Basic.Get(q, no_ack=True))
        f = p.next()
        if isinstance(f.method, pika_spec.Basic.GetEmpty):
            log.append("<- empty")
            return
        headers = p.next().properties
        death = (headers.headers or {}).get("x-death", [])
        log.append("<- %r %r expiration=%r %s" % (p.next().fragment, f.method.exchange, headers.expiration, [
            {k: v for k, v in sorted(d.items()) if k != "time"} for d in death]))
    p.publish(1, "", "dl", b"e", expiration="100", headers={"k": 1})
    look("dl2")
    for body in (b"1", b"2", b"3"):
        p.publish(1, "", "dl", body)
    look("dl2")
    tag = 0
    for turn in range(3):                       # rejected from one to the other and back: it may go round
        for q in ("dl", "dl2"):
            time.sleep(0.3)
            p.send(1, spec.Basic.Get(q))
            f = p.next()
            if isinstance(f.method, pika_spec.Basic.GetEmpty):
                log.append("<- empty")
                continue
            p.next(); log.append("<- %r" % p.next().fragment)
            p.send(1, spec.Basic.Reject(f.method.delivery_tag, requeue=False))
    look("dl")
    look("dl")
    p.rpc(1, spec.Queue.Delete("dl")); p.rpc(1, spec.Queue.Delete("dl2"))


@scenario
def streams(port, log):
    p = Peer(port, log).open()
    stream = {"x-queue-type": "stream"}

    def again(close):
        """A hard error: the connection is gone."""
        nonlocal p
        if close:
            p = Peer(port, []).open()
            p.log = log
        else:
            p.close_ok(1)
    p.send(1, spec.Queue.Delete("ds")); p.next()
    p.rpc(1, declare("ds", durable=True, arguments=stream))
    for wrong in ({"durable": False}, {"durable": True, "exclusive": True}, {"durable": True, "auto_delete": True}):
        p.rpc(1, declare("ds2", arguments=stream, **wrong)); again(False)
    for name, value in (("x-max-age", "7"), ("x-max-age", 7), ("x-max-length", 5), ("x-message-ttl", 5), ("x-max-length-bytes", -1),
                        ("x-initial-cluster-size", 0), ("x-queue-leader-locator", "nowhere"), ("x-expires", 5), ("x-overflow", "drop-head"),
                        ("x-stream-max-segment-size-bytes", 3000000001), ("x-single-active-consumer", True), ("x-delivery-limit", 1)):
        p.rpc(1, declare("ds2", durable=True, arguments=dict(stream, **{name: value}))); again(False)
    p.rpc(1, declare("ds", durable=True, arguments=dict(stream, **{"x-max-age": "1D"}))); again(False)
    for method in (spec.Queue.Purge("ds"), spec.Basic.Get("ds")):
        p.rpc(1, method); again(True)
    p.rpc(1, spec.Basic.Consume("ds", consumer_tag="t")); again(False)
    p.rpc(1, spec.Confirm.Select())
    for n in range(4):
        p.publish(1, "", "ds", b"%d" % n, headers={"k": n}); p.read()
    p.rpc(1, spec.Basic.Qos(prefetch_count=2))
    p.rpc(1, spec.Basic.Consume("ds", consumer_tag="t", arguments={"x-stream-offset": 1}), 1 + 2 * 3)
    p.rest()
    p.send(1, spec.Basic.Ack(1)); p.read(3); p.rest()
    p.rpc(1, spec.Basic.Cancel("t"))
    p.rpc(1, spec.Queue.Delete("ds", if_unused=True))


@scenario
def exchange_types(port, log):
    p = Peer(port, log).open()
    p.rpc(1, declare("de", durable=False))
    for kind, arguments in (("x-consistent-hash", {"hash-header": "a", "hash-property": "message_id"}), ("x-consistent-hash", {"hash-property": "b"}),
                            ("x-recent-history", {"x-recent-history-length": 0}), ("x-recent-history", {"x-recent-history-length": "a"})):
        p.rpc(1, spec.Exchange.Declare(exchange="dex", type=kind, arguments=arguments)); p.close_ok(1)
    p.rpc(1, spec.Exchange.Declare(exchange="dex", type="x-consistent-hash"))
    for key in ("", "a", "0", "-1", "1.5"):
        p.rpc(1, spec.Queue.Bind("de", "dex", key)); p.close_ok(1)
    p.rpc(1, spec.Queue.Bind("de", "dex", "3"))
    p.publish(1, "dex", "k", b"hashed", mandatory=True); p.rest()
    p.rpc(1, spec.Basic.Get("de", no_ack=True), 3)
    p.rpc(1, spec.Exchange.Delete("dex"))
    for kind in ("x-random", "x-modulus-hash", "x-recent-history"):
        p.rpc(1, spec.Exchange.Declare(exchange="dex", type=kind))
        p.publish(1, "dex", "k", b"before", mandatory=True); p.rest()
        p.rpc(1, spec.Queue.Bind("de", "dex", "k")); time.sleep(0.3)
        p.publish(1, "dex", "k", b"after", mandatory=True); p.rest()
        for _ in range(3):
            p.rpc(1, spec.Basic.Get("de", no_ack=True)); p.rest(0.2)
        p.rpc(1, spec.Exchange.Delete("dex"))
    p.rpc(1, spec.Queue.Delete("de"))
