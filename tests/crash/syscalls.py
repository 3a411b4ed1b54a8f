"""syscalls.py - one failed system call per life of a broker: see `syscalls`.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import ROOT, Broker, BrokerFailed  # noqa: E402
from kafka_raw import KafkaRaw, batch, values  # noqa: E402

SHIM = os.path.join(ROOT, "build", "libfailing.so")

# What each call may say: errors, or SHORT for less than was asked.  close is not here: Linux closes whatever it returns.
DISK = {
    "open": "EIO EMFILE EINTR", "openat": "EIO EMFILE ENOSPC", "read": "EIO EINTR SHORT", "write": "EIO ENOSPC EINTR SHORT",
    "pread": "EIO EINTR SHORT", "pwritev": "EIO ENOSPC EINTR SHORT", "fdatasync": "EIO ENOSPC", "fsync": "EIO ENOSPC",
    "fallocate": "EIO ENOSPC EINTR EOPNOTSUPP", "sync_file_range": "EIO", "rename": "EIO ENOSPC", "renameat": "EIO ENOSPC", 
    "unlink": "EIO", "unlinkat": "EIO", "mkdir": "EIO ENOSPC", "mkdirat": "EIO ENOSPC", "fstat": "EIO", "stat": "EIO",
    "statvfs": "EIO", "access": "EIO", "flock": "EINTR ENOLCK", "opendir": "EIO EMFILE", "fdopendir": "ENOMEM",
    "readdir": "EIO", "fopen": "EIO EMFILE", "posix_fadvise": "EINVAL", "mmap": "ENOMEM", "mincore": "EAGAIN",
}
REST = {
    "sendfile": "EIO EINTR SHORT", "socket": "EMFILE", "socketpair": "EMFILE", "bind": "ENOMEM", "listen": "EMFILE",
    "setsockopt": "ENOMEM", "getsockname": "ENOMEM", "getpeername": "ENOMEM", "accept4": "EMFILE ENOMEM ECONNABORTED EINTR EPERM",
    "recv": "ENOMEM EINTR ECONNRESET", "sendmsg": "ENOMEM EINTR ECONNRESET", "shutdown": "ENOMEM",
    "epoll_create1": "EMFILE", "epoll_ctl": "ENOMEM ENOSPC", "epoll_wait": "EINTR", "eventfd": "EMFILE", "getrandom": "EINTR",
    "sigtimedwait": "EINTR", "syscall": "ENOSYS", "getrlimit": "EINVAL", "setrlimit": "EPERM", "pthread_create": "EAGAIN", "fcntl": "EINVAL",
}
MEMORY = {"malloc": "ENOMEM", "calloc": "ENOMEM", "realloc": "ENOMEM"}
EVERY = {**DISK, **REST, **MEMORY}

SETTINGS = ["--set", "journal_file_size=1MiB", "--set", "cache_size=1MiB", "--set", "sqs.queue.declared={}"]
TOPIC = "t"
ROUNDS = 40
PATIENCE_S = (0.1, 0.5, 2, 10, 20)       # after a connection has broken: the broker may be about to end
SMALL, BULK = 30000, 300000


class Ledger:
    """What was acknowledged, and so must be there; or gone."""

    def __init__(self, other=None):
        self.kafka = dict(other.kafka) if other else {}         # offset -> number
        self.start = other.start if other else 0                # what is below may be gone
        self.sqs = set(other.sqs) if other else set()           # must be there,
        self.open = set()                                       # may be there,
        self.gone = set()                                       # may not


def body(n):
    return b"%d " % n + b"z" * (BULK if n % 20 == 7 else SMALL)


def sqs(broker, action, **parameters):
    connection = http.client.HTTPConnection(broker.sqs, timeout=60)
    try:
        connection.request("POST", "/", json.dumps(parameters), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


def produce(raw, ledger, n):
    error, offset = raw.produce(TOPIC, 0, batch([body(n)], time_ms=int(time.time() * 1000)))
    if error == 0:
        ledger.kafka[offset] = n


def send(broker, ledger, text):
    ledger.open.add(text)
    if sqs(broker, "SendMessage", QueueUrl="q", MessageBody=text)[0] == 200:
        ledger.sqs.add(text)


def take(broker, ledger):
    """Receive one, and delete it."""
    status, got = sqs(broker, "ReceiveMessage", QueueUrl="q", VisibilityTimeout=1)
    for m in got.get("Messages", []) if status == 200 else []:
        ledger.sqs.discard(m["Body"])
        ledger.open.add(m["Body"])
        if sqs(broker, "DeleteMessage", QueueUrl="q", ReceiptHandle=m["ReceiptHandle"])[0] == 200:
            ledger.gone.add(m["Body"])


def read_all(raw, ledger):
    """From the first offset on; what comes must be what was written."""
    at = ledger.start
    for _ in range(200):
        error, high, got = raw.fetch(TOPIC, 0, at)
        found = values(got)
        if error or not found:
            return
        for offset, value in found.items():
            assert value == body(int(value.split(b" ")[0])), "offset %d is not what was written" % offset
            assert ledger.kafka.get(offset, -1) in (-1, int(value.split(b" ")[0])), "offset %d is another" % offset
        at = max(found) + 1
        if at >= high:
            return


def trim(raw, ledger, offset):
    ledger.start = max(ledger.start, offset)
    raw.delete_records(TOPIC, 0, offset)


def steps(ledger):
    """What clients do, each with a connection to Kafka."""
    first = max(ledger.kafka) + 1
    yield lambda broker, raw: read_all(raw, ledger)
    for n in range(first, first + ROUNDS):
        yield lambda broker, raw, n=n: produce(raw, ledger, n)
        if n % 4 == 0:
            yield lambda broker, raw, n=n: send(broker, ledger, "m%d" % n)
        if n % 8 == 0:
            yield lambda broker, raw: take(broker, ledger)
        if n == first + ROUNDS // 2:
            yield lambda broker, raw: trim(raw, ledger, first - 4)
    yield lambda broker, raw: broker.get("/metrics")
    yield lambda broker, raw: sqs(broker, "CreateQueue", QueueName="brief")
    yield lambda broker, raw: sqs(broker, "DeleteQueue", QueueUrl="brief")
    yield lambda broker, raw: read_all(raw, ledger)


def first_steps(ledger):
    """The same in a directory that is new: what the topic would need is not there."""
    yield lambda broker, raw: sqs(broker, "CreateQueue", QueueName="q")
    for n in range(3):
        yield lambda broker, raw, n=n: send(broker, ledger, "m%d" % n)


def work(broker, ledger, all_steps):
    """Until it is done or the broker has ended.  A connection may break; then the next one must do."""
    raw = None
    try:
        for step in all_steps:
            for patience_s in PATIENCE_S:
                try:
                    if raw is None:
                        raw = KafkaRaw(broker.kafka)
                        raw.socket.settimeout(60)
                    step(broker, raw)
                    break
                except (OSError, http.client.HTTPException, json.JSONDecodeError, struct.error) as e:
                    if raw is not None:
                        raw.socket.close()
                        raw = None
                    end = time.monotonic() + patience_s
                    while broker.running() and time.monotonic() < end:
                        time.sleep(0.01)
                    if not broker.running():
                        return
                    assert patience_s < PATIENCE_S[-1], "it does not answer, and runs: %r" % e
    finally:
        if raw is not None:
            raw.socket.close()


def check(broker, ledger):
    if ledger.kafka:
        check_kafka(broker, ledger)
    check_sqs(broker, ledger)


def check_kafka(broker, ledger):
    with KafkaRaw(broker.kafka) as raw:
        raw.socket.settimeout(60)
        at, high, found = ledger.start, None, {}
        while high is None or at < high:
            error, high, got = raw.fetch(TOPIC, 0, at)
            assert error == 0, "fetch at %d: error %d" % (at, error)
            some = values(got)
            assert some or at >= high, "nothing at %d, and the end is %d" % (at, high)
            for offset, value in some.items():
                found[offset] = int(value.split(b" ")[0])
                assert value == body(found[offset]), "offset %d is not what was written" % offset
            at = max(some, default=at - 1) + 1
    wanted = {o: n for o, n in ledger.kafka.items() if o >= ledger.start}
    assert {o: found.get(o) for o in wanted} == wanted, "kafka: acknowledged and not there"


def check_sqs(broker, ledger):
    left, end = set(ledger.sqs), time.monotonic() + 60
    while left:
        status, got = sqs(broker, "ReceiveMessage", QueueUrl="q", MaxNumberOfMessages=10, VisibilityTimeout=60, WaitTimeSeconds=1)
        assert status == 200, "sqs: receive says %s" % got
        bodies = {m["Body"] for m in got.get("Messages", [])}
        assert not bodies & ledger.gone, "sqs: deleted and there again: %s" % (bodies & ledger.gone)
        left -= bodies
        assert not left or time.monotonic() < end, "sqs: %s answered and not there" % left


def said_why(broker, code):
    said = broker.tail(5).strip().splitlines()
    assert code == 1 and any(line.startswith("hawser: ") for line in said), "no reason: code %s, %s" % (code, said)


def prepare():
    """A directory with segments, a journal and a checkpoint, that every life begins with a copy of."""
    from confluent_kafka.admin import AdminClient, NewTopic
    broker, ledger = Broker(options=SETTINGS), Ledger()
    broker.start()
    admin = AdminClient({"bootstrap.servers": broker.kafka, "log_level": 0})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(20)
    assert sqs(broker, "CreateQueue", QueueName="q")[0] == 200
    with KafkaRaw(broker.kafka) as raw:
        for n in range(2 * ROUNDS):
            produce(raw, ledger, n)
            if n % 10 == 0:
                send(broker, ledger, "m%d" % n)
    assert len(ledger.kafka) == 2 * ROUNDS and broker.stop() == 0
    return broker, ledger


def one_life(prepared, call, error, number, new):
    """In a new directory, or in a copy of one that has something.  (Calls that were made, where the one that failed was made, or None); raises if something was lost, or ended without a reason."""
    original, before = prepared
    broker, ledger = Broker(options=SETTINGS), Ledger(None if new else before)
    if not new:
        shutil.copytree(original.data, broker.data)
    record = os.path.join(broker.home, "record")
    try:
        broker.wrap = ["env", "LD_PRELOAD=" + SHIM, "HAWSER_FAIL=%s:%s:%d" % (call, error, number), "HAWSER_FAIL_RECORD=" + record]
        try:
            broker.start(timeout_s=40)
            work(broker, ledger, first_steps(ledger) if new else steps(ledger))
        except BrokerFailed as e:
            assert "ended with 1 " in str(e) and "hawser: " in str(e), "no start, and no reason: %s" % e
        if broker.process is not None:
            code = broker.stop(timeout_s=60)
            if code != 0:
                said_why(broker, code)
        broker.wrap = []
        broker.start(timeout_s=40)
        check(broker, ledger)
        assert broker.stop() == 0
        with open(record, "rb") as f:
            calls, struck, site = struct.unpack("<QQQ", f.read(24))
        return calls, site if struck else None
    finally:
        broker.close()


class Sites:
    """The places in the program that make the calls."""

    def __init__(self, binary):
        self.binary = binary
        self.all = {}                                           # address behind the call -> call
        lines = subprocess.run(["objdump", "-d", "--no-show-raw-insn", binary], capture_output=True, text=True, check=True).stdout
        wanted = None
        for line in lines.splitlines():
            address, _, code = line.partition(":")
            if wanted and code:
                self.all[int(address, 16)] = wanted
            found = re.search(r"\bcall\s.*<(\w+)@plt>$", line)
            wanted = found.group(1) if found and found.group(1) in EVERY else None

    def lines(self, addresses):
        """address -> folder/file.c:line, for what belongs to the server."""
        said = subprocess.run(["addr2line", "-e", self.binary] + [hex(a - 1) for a in addresses], capture_output=True, text=True,
                              check=True).stdout.split("\n")
        found = {}
        for address, line in zip(addresses, said):
            place = re.search(r"src/(.*:\d+)", line)
            if place and not place.group(1).startswith("cli/"):
                found[address] = place.group(1)
        return found


def tell_sites(reached, calls):
    sites = Sites(os.environ.get("HAWSER_BINARY", os.path.join(ROOT, "build", "hawser")))
    lines = sites.lines(sorted(sites.all))
    for call in calls:
        places = {lines[a] for a, c in sites.all.items() if c == call and a in lines}
        done = {lines.get(a) for a in reached.get(call, ())}
        if places:
            print("%s: %d of %d places; not: %s" % (call, len(places & done), len(places), " ".join(sorted(places - done)) or "-"))


def errors_of(call, options):
    if options.errors:
        return options.errors.split(",")
    return EVERY[call].split()[:1 if options.quick else None]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", default=",".join({**DISK, **REST}))
    parser.add_argument("--errors", help="instead of all that fit")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--limit", type=int, default=100000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--sites", action="store_true")
    options = parser.parse_args()
    calls = options.calls.split(",")
    prepared, reached = prepare(), {}
    passed = failed = struck_all = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for call, error, new in [(c, e, new) for c in calls for e in errors_of(c, options)
                                 for new in (True, False)]:
            number, more, struck = 1, True, 0
            while more and number <= options.limit:
                numbers = range(number, number + options.jobs * options.every, options.every)
                for at, life in [(at, pool.submit(one_life, prepared, call, error, at, new)) for at in numbers]:
                    try:
                        made, site = life.result()
                        more = more and made >= at
                        struck += site is not None
                        reached.setdefault(call, set()).add(site)
                        passed += 1
                    except Exception as e:
                        failed += 1
                        print("FAILED %s %s number %d%s: %r" % (call, error, at, ", new" if new else "", e), flush=True)
                number += options.jobs * options.every
            struck_all += struck
            print("%s %s, %s directory: %d lives, one failed in each" % (call, error, "a new" if new else "an old", struck), flush=True)
    prepared[0].close()
    if options.sites:
        tell_sites(reached, calls)
    print("%d calls failed on purpose" % struck_all)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
