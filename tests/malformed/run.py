"""run.py - malformed inputs, N per protocol, over real sockets.

Each case is a valid conversation that has been hurt: bytes flipped, lengths made huge, zero or negative, cut short,
repeated, filled with noise.  After each, the answer is judged:

  Kafka   a frame whose correlation id is the request's, or the connection closed; never bytes that are no frame
  AMQP    well-formed frames, then connection.close or channel.close with a code and text of the specification, the
          broker's protocol header, or (before the handshake) a closed connection
  SQS     an HTTP answer with a status line; an error has a JSON __type or an XML <Error>

Meanwhile a well-behaved client of each protocol works all the time and must never fail or wait longer than PATIENCE_S.
At the end the broker must be the same process, with bounded memory.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import concurrent.futures
import os
import random
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker  # noqa: E402

PATIENCE_S = 5
ANSWER_S = 0.02                 # how long a silent broker is listened to: it may well wait for the rest of a frame
MEMORY_KIB = 400 * 1024
AT_ONCE, PORTION = 24, 1000
AMQP_CODES = {200, 311, 312, 313, 320, 402, 403, 404, 405, 406, 501, 502, 503, 504, 505, 506, 530, 540, 541}


# --------------------------------------------------------------------------------------------------------- mutations ----

INTERESTING = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        at = rng.randrange(len(data))
        what = rng.randrange(8)
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at] = rng.randrange(256)
        elif what == 2:
            del data[at:]
        elif what == 3:
            del data[at:at + rng.randrange(1, 9)]
        elif what == 4:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 17)))
        elif what == 5:
            data[at:at + 4] = struct.pack(">I", rng.choice(INTERESTING))[:len(data) - at]
        elif what == 6:
            data[at:at + 2] = struct.pack(">H", rng.choice(INTERESTING) & 0xffff)[:len(data) - at]
        else:
            end = min(len(data), at + rng.randrange(1, 33))
            data[at:at] = data[at:end]
    return bytes(data)


def exchange(address, data, patience_s=ANSWER_S):
    """Send, and read until the peer closes or stays silent.  Returns (bytes, closed)."""
    host, port = address.split(":")
    got, closed = b"", False
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            s.sendall(data)
            s.settimeout(patience_s)
            while len(got) < 1 << 22:
                some = s.recv(65536)
                if not some:
                    closed = True
                    break
                got += some
        except socket.timeout:
            pass
        except (ConnectionResetError, BrokenPipeError):
            closed = True
    return got, closed


# ------------------------------------------------------------------------------------------------------------- Kafka ----

def kafka_string(s):
    return struct.pack(">h", len(s)) + s


def kafka_request(key, version, body, correlation=7, flexible=False):
    head = struct.pack(">hhi", key, version, correlation) + kafka_string(b"bad") + (b"\0" if flexible else b"")
    return struct.pack(">i", len(head) + len(body)) + head + body


def kafka_batch():
    record = b"\x14\0\0\0\x01\x08body\0"
    rest = struct.pack(">hiqqqhii", 0, 0, 1700000000000, 1700000000000, -1, -1, -1, 1) + record
    return struct.pack(">qiibI", 0, len(rest) + 9, -1, 2, 0x12345678) + rest


def kafka_seeds():
    batch = kafka_batch()
    topic = kafka_string(b"malformed")
    yield kafka_request(18, 0, b"")
    yield kafka_request(18, 3, b"\x04bad\x021\0", flexible=True)
    yield kafka_request(3, 1, struct.pack(">i", 1) + topic)
    yield kafka_request(3, 9, b"\x02\x0amalformed\0\1\0\0\0", flexible=True)
    yield kafka_request(0, 7, struct.pack(">hhii", -1, -1, 1000, 1) + topic + struct.pack(">iii", 1, 0, len(batch)) + batch)
    yield kafka_request(1, 4, struct.pack(">iiiibi", -1, 10, 1, 1 << 20, 0, 1) + topic + struct.pack(">iiqi", 1, 0, 0, 1 << 20))
    yield kafka_request(2, 1, struct.pack(">ii", -1, 1) + topic + struct.pack(">iiq", 1, 0, -1))
    yield kafka_request(8, 2, kafka_string(b"g") + struct.pack(">i", -1) + kafka_string(b"") + struct.pack(">qi", -1, 1) + topic
                        + struct.pack(">iiq", 1, 0, 5) + kafka_string(b"m"))
    yield kafka_request(9, 1, kafka_string(b"g") + struct.pack(">i", 1) + topic + struct.pack(">ii", 1, 0))
    yield kafka_request(10, 1, kafka_string(b"g") + b"\0")
    yield kafka_request(11, 2, kafka_string(b"g") + struct.pack(">ii", 6000, 6000) + kafka_string(b"") + kafka_string(b"consumer")
                        + struct.pack(">i", 1) + kafka_string(b"range") + struct.pack(">i", 4) + b"meta")
    yield kafka_request(19, 2, struct.pack(">i", 1) + topic + struct.pack(">ihiiib", 1, 1, 0, 0, 1000, 0))
    yield kafka_request(22, 1, struct.pack(">hi", -1, 1000))
    yield kafka_request(32, 1, struct.pack(">ib", 1, 2) + topic + struct.pack(">ib", -1, 0))


def judge_kafka(got, closed):
    while got:
        if len(got) < 8:
            return "an answer of %d bytes" % len(got)
        size, = struct.unpack(">i", got[:4])
        if size < 4 or size > 1 << 24 or len(got) < 4 + size:
            return "an answer that is no frame: %s" % got[:24].hex()
        got = got[4 + size:]
    return None


# -------------------------------------------------------------------------------------------------------------- AMQP ----

def shortstr(s):
    return bytes([len(s)]) + s


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel, class_, id_, arguments=b""):
    return frame(1, channel, struct.pack(">HH", class_, id_) + arguments)


AMQP_START = b"AMQP\0\0\x09\x01"
START_OK = method(0, 10, 11, struct.pack(">I", 0) + shortstr(b"PLAIN") + struct.pack(">I", 12) + b"\0guest\0guest" + shortstr(b"en_US"))
TUNE_OK = method(0, 10, 31, struct.pack(">HIH", 100, 131072, 0))
OPEN = method(0, 10, 40, shortstr(b"/") + b"\0\0")
CHANNEL = method(1, 20, 10, b"\0")
AMQP_HELLO = AMQP_START + START_OK + TUNE_OK + OPEN + CHANNEL
TABLE = b"\x01xS\0\0\0\x04text\x01yI\0\0\0\x05\x01zF\0\0\0\x05\x01at\x01\x00"


def table(entries=TABLE):
    return struct.pack(">I", len(entries)) + entries


def amqp_seeds():
    publish = (method(1, 60, 40, b"\0\0" + shortstr(b"") + shortstr(b"malformed") + b"\0")
               + frame(2, 1, struct.pack(">HHQH", 60, 0, 4, 0xa000) + shortstr(b"t/p") + table()) + frame(3, 1, b"body"))
    yield START_OK
    yield TUNE_OK
    yield OPEN
    yield method(1, 40, 10, b"\0\0" + shortstr(b"xm") + shortstr(b"topic") + b"\0" + table())
    yield method(1, 50, 10, b"\0\0" + shortstr(b"malformed") + b"\x02" + table(b"\x0dx-message-ttlI\0\0\xff\xff"))
    yield method(1, 50, 20, b"\0\0" + shortstr(b"malformed") + shortstr(b"amq.headers") + shortstr(b"k") + b"\0" + table())
    yield publish
    yield method(1, 85, 10, b"\0") + publish
    yield method(1, 60, 10, struct.pack(">IHB", 0, 10, 0))
    yield method(1, 60, 20, b"\0\0" + shortstr(b"malformed") + shortstr(b"tag") + b"\0" + table(b""))
    yield method(1, 60, 70, b"\0\0" + shortstr(b"malformed") + b"\0")
    yield method(1, 60, 80, struct.pack(">QB", 1, 0))
    yield method(1, 60, 120, struct.pack(">QB", 1, 3))
    yield method(1, 20, 40, struct.pack(">H", 200) + shortstr(b"bye") + b"\0\0\0\0")
    yield frame(8, 0, b"")


def judge_amqp(got, closed):
    """Frames only; what closes has a known code.  A protocol header answers a bad one."""
    while got:
        if got.startswith(b"AMQP") and len(got) == 8:
            return None
        if len(got) < 8:
            return "half a frame: %s" % got.hex()
        kind, channel, size = struct.unpack(">BHI", got[:7])
        if kind not in (1, 2, 3, 8) or len(got) < 8 + size or got[7 + size] != 0xce:
            return "no frame: %s" % got[:24].hex()
        if kind == 1:
            class_, id_ = struct.unpack(">HH", got[7:11])
            if (class_, id_) in ((10, 50), (20, 40)):
                code, = struct.unpack(">H", got[11:13])
                text = got[14:14 + got[13]]
                if code not in AMQP_CODES or not re.match(rb"[A-Z_]+ - ", text):
                    return "closes with %d %s" % (code, text)
        got = got[8 + size:]
    return None


# --------------------------------------------------------------------------------------------------------------- SQS ----

def http(headers, body, path=b"/", verb=b"POST"):
    head = b"%s %s HTTP/1.1\r\nHost: localhost\r\n" % (verb, path)
    return head + b"".join(b"%s: %s\r\n" % h for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def sqs_seeds():
    def json(action, body):
        return http(((b"Content-Type", b"application/x-amz-json-1.0"), (b"X-Amz-Target", b"AmazonSQS." + action)), body)

    def query(body):
        return http(((b"Content-Type", b"application/x-www-form-urlencoded"),), body)
    yield json(b"CreateQueue", b'{"QueueName":"malformed2","Attributes":{"VisibilityTimeout":"30"},"tags":{"a":"b"}}')
    yield json(b"SendMessage", b'{"QueueUrl":"malformed","MessageBody":"b\\u00e9","DelaySeconds":0,"MessageAttributes":'
                               b'{"a":{"DataType":"Number","StringValue":"1"},"b":{"DataType":"Binary","BinaryValue":"AAEC"}}}')
    yield json(b"SendMessageBatch", b'{"QueueUrl":"malformed","Entries":[{"Id":"1","MessageBody":"x"},{"Id":"2","MessageBody":"y"}]}')
    yield json(b"ReceiveMessage", b'{"QueueUrl":"malformed","MaxNumberOfMessages":3,"AttributeNames":["All"]}')
    yield json(b"DeleteMessage", b'{"QueueUrl":"malformed","ReceiptHandle":"AQEAAAAAAAAAAAAAAAAAAAABAAAAAgAAAAAAAABXvDm9"}')
    yield json(b"SetQueueAttributes", b'{"QueueUrl":"malformed","Attributes":{"DelaySeconds":"1"}}')
    yield query(b"Action=CreateQueue&QueueName=malformed3&Attribute.1.Name=DelaySeconds&Attribute.1.Value=0&Version=2012-11-05")
    yield query(b"Action=SendMessage&QueueUrl=malformed&MessageBody=%C3%A9+x&MessageAttribute.1.Name=a"
                b"&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v")
    yield query(b"Action=GetQueueAttributes&QueueUrl=malformed&AttributeName.1=All")
    yield http((), b"", path=b"/000000000000/malformed?Action=ReceiveMessage&Version=2012-11-05", verb=b"GET")
    yield (b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")


def judge_sqs(got, closed):
    while got:
        if got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            got = got[25:]
            continue
        head, end, rest = got.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d{3}) \S", head)
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if not end or not status or not length or len(rest) < int(length.group(1)):
            return "no HTTP answer: %s" % got[:80]
        body, got = rest[:int(length.group(1))], rest[int(length.group(1)):]
        if int(status.group(1)) >= 500 and int(status.group(1)) not in (501, 505):
            return "status %s: %s" % (status.group(1), body[:200])
        if status.group(1)[:1] == b"4" and not re.search(rb'"__type"|<Error>|malformed|POST or GET', body):
            return "an error that is not SQS's: %s" % body[:200]
    return None


# ------------------------------------------------------------------------------------------------------------ the run ----

PROTOCOLS = {
    "kafka": (list(kafka_seeds()), b"", judge_kafka),
    "amqp": (list(amqp_seeds()), AMQP_HELLO, judge_amqp),
    "sqs": (list(sqs_seeds()), b"", judge_sqs),
}


def case(rng, seeds, hello):
    """The bytes of one case: mostly a hurt message after a good beginning; sometimes the beginning is hurt, or noise."""
    what = rng.randrange(20)
    if what == 0:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200)))
    if what == 1 and hello:
        return mutate(rng, hello)
    messages = [rng.choice(seeds) for _ in range(rng.choice((1, 1, 2)))]
    messages[rng.randrange(len(messages))] = mutate(rng, messages[-1])
    return hello + b"".join(messages)


class Neighbour(threading.Thread):
    """A well-behaved client of one protocol: the same good conversation, over and over."""

    def __init__(self, name, address, data, expect):
        super().__init__(daemon=True)
        self.protocol, self.address, self.data, self.expect = name, address, data, expect
        self.ends, self.served, self.failures, self.slowest = threading.Event(), 0, [], 0.0

    def run(self):
        while not self.ends.is_set():
            started = time.monotonic()
            try:
                with socket.create_connection(self.address.split(":"), timeout=PATIENCE_S) as s:
                    s.sendall(self.data)
                    got = b""
                    while self.expect not in got:
                        some = s.recv(65536)
                        if not some:
                            raise ConnectionError("closed after %s" % got[:80])
                        got += some
                self.served += 1
            except OSError as e:
                self.failures.append(repr(e))
            self.slowest = max(self.slowest, time.monotonic() - started)
            time.sleep(0.02)


def neighbours(broker):
    yield Neighbour("kafka", broker.kafka, kafka_request(3, 1, struct.pack(">i", 1) + kafka_string(b"good"), 99), struct.pack(">i", 99))
    yield Neighbour("amqp", broker.amqp, AMQP_HELLO + method(1, 50, 10, b"\0\0" + shortstr(b"good") + b"\x02" + table(b"")),
                    struct.pack(">HH", 50, 11) + shortstr(b"good"))
    yield Neighbour("sqs", broker.sqs, http(((b"X-Amz-Target", b"AmazonSQS.ListQueues"),), b"{}"), b"200 OK")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=3000, help="cases per protocol")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="kafka,amqp,sqs")
    parser.add_argument("--shards", type=int, default=None)
    options = parser.parse_args()
    passed = failed = 0

    broker = Broker(shards=options.shards).start()
    process = broker.process.pid
    exchange(broker.amqp, AMQP_HELLO + method(1, 50, 10, b"\0\0" + shortstr(b"malformed") + b"\x02" + table(b"")), 0.3)
    good = list(neighbours(broker))
    for n in good:
        n.start()

    for name in options.only.split(","):
        seeds, hello, judge = PROTOCOLS[name]
        rng = random.Random("%s-%d" % (name, options.seed))
        address, started, complaints = broker.address(name), time.monotonic(), []

        def attempt(number, data):
            try:
                complaint = judge(*exchange(address, data))
            except OSError as e:
                complaint = "no connection: %r" % e
            if complaint:
                complaints.append("%s case %d: %s\n      sent %s" % (name, number, complaint, data[-200:].hex()))

        # A silent broker is listened to for a while, so many cases are under way at once; in portions, to end early.
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for first in range(0, options.count, PORTION):
                numbers = range(first, min(first + PORTION, options.count))
                list(pool.map(attempt, numbers, [case(rng, seeds, hello) for _ in numbers]))
                if not broker.running() or len(complaints) >= 20:
                    break
        failed += len(complaints)
        passed += options.count - len(complaints)
        for complaint in complaints:
            print("  ", complaint)
        print("%s: %d cases in %.0f s, %d complaints, %d KiB resident" % (
            name, options.count, time.monotonic() - started, len(complaints),
            broker.resident_kib() if broker.running() else -1), flush=True)

    for n in good:
        n.ends.set()
        n.join(PATIENCE_S + 1)
        ok = not n.failures and n.served > 0 and n.slowest < PATIENCE_S
        print("neighbour %s: served %d, failed %d, slowest %.3f s %s" % (
            n.protocol, n.served, len(n.failures), n.slowest, n.failures[:2]))
        passed, failed = passed + ok, failed + (not ok)
    same = broker.running() and broker.process.pid == process and broker.resident_kib() < MEMORY_KIB
    passed, failed = passed + same, failed + (not same)
    if not broker.running():
        print("the broker has ended:\n" + broker.tail())
    code = broker.stop() if broker.running() else None
    ends = code == 0
    passed, failed = passed + ends, failed + (not ends)
    broker.close(keep=failed > 0)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
