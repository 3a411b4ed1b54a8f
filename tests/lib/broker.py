# broker.py - one Hawser process for a test: start it, find it, end it, hurt it.
#
#     with Broker(shards=2) as b:
#         KafkaProducer(bootstrap_servers=b.kafka)
#         b.kill9()
#         b.start()           # the same data, the same ports
#
# The broker takes free ports on its first start and is given the same ones on
# every later start, so that a client may find it again.  Its data and its log
# live in a temporary folder that is removed by close() unless the test failed
# or the caller named a folder.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LISTENERS = ("kafka", "amqp", "sqs", "admin")


class BrokerFailed(Exception):
    """The broker ended, or did not say `ready` in time.  Carries its log."""


class Broker:
    def __init__(self, binary=None, data=None, shards=None, options=(), config=None,
                 listen=None, wrap=()):
        self.binary = binary or os.environ.get("HAWSER_BINARY", os.path.join(ROOT, "build", "hawser"))
        self.home = tempfile.mkdtemp(prefix="hawser-test-")
        self.data = data or os.path.join(self.home, "data")
        self.log = os.path.join(self.home, "log")
        self.shards = shards or os.environ.get("HAWSER_SHARDS")
        self.options = list(options)
        self.config = config                # text of a configuration file
        self.listen = dict.fromkeys(LISTENERS, "127.0.0.1:0")
        self.listen.update(listen or {})    # "kafka-tls" and the like: listeners that are off unless asked for
        self.wrap = list(wrap)              # e.g. ["strace", "-f"]
        self.process = None
        self.said = []                      # the lines on standard output

    # -- addresses -------------------------------------------------------

    def address(self, name):
        """'127.0.0.1:41234' of a listener that is on."""
        return self.listen[name]

    @property
    def kafka(self):
        return self.address("kafka")

    @property
    def amqp(self):
        return self.address("amqp")

    @property
    def sqs(self):
        return self.address("sqs")

    @property
    def admin(self):
        return self.address("admin")

    # -- life ------------------------------------------------------------

    def command(self):
        words = self.wrap + [self.binary, "serve", "--data", self.data]
        for name in LISTENERS:
            words += ["--" + name, self.listen[name]]
            if name + "-tls" in self.listen:
                words += ["--set", "%s.tls_listener=%s" % (name, self.listen[name + "-tls"])]
        if self.shards:
            words += ["--shards", str(self.shards)]
        if self.config is not None:
            path = os.path.join(self.home, "hawser.conf")
            with open(path, "w") as f:
                f.write(self.config)
            words += ["--config", path]
        return words + self.options

    def start(self, timeout_s=20):
        assert self.process is None, "already running"
        self.said = []
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=log,
                                            stdin=subprocess.DEVNULL, text=True)
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout, ready), daemon=True)
        self._reader.start()

        end = time.monotonic() + timeout_s
        while not ready.wait(0.02):
            if self.process.poll() is not None:
                self._reader.join(2)
                code, self.process = self.process.returncode, None
                raise BrokerFailed("the broker ended with %s before `ready`\n%s" % (code, self.tail()))
            if time.monotonic() > end:
                self.kill9()
                raise BrokerFailed("no `ready` within %d s\n%s" % (timeout_s, self.tail()))
        for line in self.said:
            name, _, where = line.partition(" ")
            if name in self.listen and where:
                self.listen[name] = where.split()[0]
        return self

    def _read(self, stream, ready):
        for line in stream:
            self.said.append(line.rstrip("\n"))
            if line.strip() == "ready":
                ready.set()

    def stop(self, timeout_s=5):
        """SIGTERM.  Returns the exit code; fails when it takes too long."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BrokerFailed("still running %d s after SIGTERM\n%s" % (timeout_s, self.tail()))
        finally:
            self._reader.join(2)
            process.stdout.close()

    def kill9(self):
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            self._reader.join(2)
            process.stdout.close()

    def restart(self, kill=False):
        if kill:
            self.kill9()
        else:
            code = self.stop()
            if code != 0:
                raise BrokerFailed("exit code %s after SIGTERM\n%s" % (code, self.tail()))
        return self.start()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def close(self, keep=False):
        self.kill9()
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        failed = kind is not None
        try:
            self.stop()
        finally:
            self.close(keep=failed)

    # -- what it says ----------------------------------------------------

    def tail(self, lines=40):
        """The end of its log; of a sanitizer's report the beginning, which tells more."""
        try:
            with open(self.log, errors="replace") as f:
                said = f.readlines()
        except FileNotFoundError:
            return ""
        reports = [n for n, line in enumerate(said) if "ERROR: AddressSanitizer" in line or "runtime error:" in line]
        if reports:
            return "".join(said[reports[-1]:reports[-1] + 2 * lines])
        return "".join(said[-lines:])

    def get(self, path, timeout_s=5):
        """The body of GET `path` on the admin listener."""
        with urllib.request.urlopen("http://%s%s" % (self.admin, path), timeout=timeout_s) as answer:
            return answer.read().decode()

    def resident_kib(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0


def wait_until(true, what, timeout_s=10, step_s=0.02):
    """Poll `true` until it returns something; the bounded loop of all tests."""
    end = time.monotonic() + timeout_s
    while True:
        got = true()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError("waited %s s in vain: %s" % (timeout_s, what))
        time.sleep(step_s)
