"""peers.py - the brokers that Hawser is compared with, each started on loopback with data of its own.

A peer has sides: the same broker with one setting of durability each.  What the settings are is said in `durability`, and shown
below every table.  script/setup-peers has installed them; one that is not there raises Missing, with a sentence.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import socket
import subprocess
import time

from sides import DATA, ROOT

PEERS = os.path.join(ROOT, "build", "peers")
KAFKA_JVM = ["-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
             "-XX:+ExplicitGCInvokesConcurrent"]         # what its own start script gives
KAFKA = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
KAFKA_LOGGING = """rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
"""
ELASTICMQ = """node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false, bind-port = 0, bind-hostname = "127.0.0.1" }}
generate-node-address = false
queues {{ }}
queues-storage {{ enabled = {stored}, path = "{data}/queues.conf" }}
messages-storage {{ enabled = {stored}, driver-class-name = "org.h2.Driver", uri = "jdbc:h2:{data}/messages", username = "", password = "",
  prune-data-on-init = false }}
aws {{ region = us-east-1, accountId = "000000000000" }}
"""


class Missing(Exception):
    """A peer that is not installed, or does not start: a sentence that says so."""


def is_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def free_port(first):
    """Below the ports that the kernel gives to connections: thousands of closed ones would still hold them."""
    for port in range(first, first + 500, 10):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Missing(f"no port is free from {first} on")


class Side:
    """What bench.py asks of whoever is measured."""
    settings_apply = False          # Hawser's settings mean nothing to others

    def __init__(self):
        self.start_s = []

    def options(self, program):
        """What its load programs must be told."""
        return []

    def data(self):
        """Where its messages are."""
        return os.path.join(DATA, self.name)

    def end(self):
        """After the last round."""


class OnJava(Side):
    """A process on a JVM, started anew each round."""

    def __init__(self):
        super().__init__()
        self.process = None

    def classpath(self):
        try:
            with open(os.path.join(PEERS, self.peer, "classpath")) as f:
                return f.read().strip()
        except OSError:
            raise Missing(f"{self.name} is not installed") from None

    def broker(self, _settings):
        if not self.process:
            shutil.rmtree(self.data(), ignore_errors=True)
            os.makedirs(self.data())
            self.port = free_port(self.first_port)
            command = self.prepare()
            self.launch(command)
        return self.process.pid, {self.protocols[0]: str(self.port)}

    def launch(self, command):
        began = time.monotonic()
        with open(self.data() + ".log", "a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while not is_open(self.port):
            if self.process.poll() is not None or time.monotonic() - began > 120:
                self.stop()
                raise Missing(f"{self.name} did not start: " + open(self.data() + ".log").read().strip()[-300:])
            time.sleep(0.02)
        self.start_s.append(time.monotonic() - began)

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        shutil.rmtree(self.data(), ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.data(), name)
        with open(path, "w") as f:
            f.write(text)
        return path


class ApacheKafka(OnJava):
    """One KRaft node; flushing every batch before its answer, or as it does by default."""
    protocols = ("kafka",)
    peer = "kafka"
    first_port = 25000

    def __init__(self, flushes):
        self.flushes = flushes
        self.name = "apache-kafka" if flushes else "apache-kafka-default"
        self.durable = "fsync" if flushes else "os"
        self.durability = ("Apache Kafka 4.3.1, log.flush.interval.messages=1: fsync before every acknowledgement" if flushes else
                           "Apache Kafka 4.3.1, its default: the operating system has it") + ", heap of 1 GB, its own JVM settings"
        super().__init__()

    def prepare(self):
        logging = self.write("log4j2.properties", KAFKA_LOGGING)
        config = self.write("server.properties", KAFKA.format(port=self.port, controller=self.port + 1, data=self.data() + "/log") +
                            ("log.flush.interval.messages=1\n" if self.flushes else ""))
        java = ["java", *KAFKA_JVM, f"-Dlog4j2.configurationFile={logging}", "-cp", self.classpath()]
        done = subprocess.run(java + ["kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", config],
                              capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"{self.name}: its directory could not be formatted: {(done.stderr + done.stdout).strip()[-300:]}")
        return java + ["kafka.Kafka", config]


class ElasticMQ(OnJava):
    """In memory, as most run it, or with its store (H2)."""
    protocols = ("sqs",)
    peer = "elasticmq"
    first_port = 26000

    def __init__(self, stored):
        self.stored = stored
        self.name = "elasticmq-stored" if stored else "elasticmq"
        self.durable = "os" if stored else "memory"
        self.durability = ("ElasticMQ 1.7.1, messages-storage (H2) enabled: written in the background, not synced before the answer" if stored
                           else "ElasticMQ 1.7.1, its default: messages in memory only") + "; signatures are not checked; heap of 1 GB"
        super().__init__()

    def prepare(self):
        config = self.write("elasticmq.conf", ELASTICMQ.format(port=self.port, data=self.data(), stored=str(self.stored).lower()))
        return ["java", "-Xmx1g", f"-Dconfig.file={config}", "-cp", self.classpath(), "org.elasticmq.server.Main"]


class RabbitMQ(Side):
    """Debian's rabbitmq-server; one node for queues of either type.  Its data is below build/peers."""
    protocols = ("amqp",)
    script = os.path.join(ROOT, "tests/conformance/peers/rabbitmq.sh")
    home = os.path.join(PEERS, "rabbitmq")
    port = None                     # of the node that all sides share
    starts = []

    def __init__(self, quorum=False):
        super().__init__()
        self.quorum = quorum
        self.name = "rabbitmq-quorum" if quorum else "rabbitmq"
        self.durable = "fsync"          # strace counts: published one by one, each message has an fsync of its own, with either type
        self.durability = "RabbitMQ 3.10.8, its default settings, persistent messages in " + (
            "quorum queues on one node" if quorum else "durable classic queues") + ": fsync before every confirm (many at once)"
        self.start_s = RabbitMQ.starts

    def options(self, program):
        names = ["--prefix", "quorum"] if program == "queues_load" else []      # the classic ones keep theirs
        return ["--queue-type", "quorum"] + names if self.quorum else []

    def data(self):
        return self.home

    def broker(self, _settings):
        if not RabbitMQ.port:
            if not os.path.exists("/usr/lib/rabbitmq/bin/rabbitmq-server"):
                raise Missing("rabbitmq is not installed")
            self.start()
        with open(os.path.join(self.home, "pid")) as f:
            return int(f.read()), {"amqp": str(RabbitMQ.port)}

    def start(self):
        shutil.rmtree(os.path.join(self.home, "mnesia"), ignore_errors=True)
        port = free_port(25500)
        os.environ["RABBITMQ_PORT"] = str(port)
        began = time.monotonic()
        done = subprocess.run([self.script, "start"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Missing("rabbitmq did not start: " + done.stderr.strip()[-300:])
        RabbitMQ.starts.append(time.monotonic() - began)
        RabbitMQ.port = port

    def stop(self):
        pass                        # it takes long to start: it runs to the end

    def end(self):
        if RabbitMQ.port:
            subprocess.run([self.script, "stop"], check=False)
        RabbitMQ.port = None


def sides_of(peer):
    """The sides that a name of --against stands for."""
    makers = {
        "apache-kafka": lambda: [ApacheKafka(flushes=True), ApacheKafka(flushes=False)],
        "rabbitmq": lambda: [RabbitMQ(), RabbitMQ(quorum=True)],
        "elasticmq": lambda: [ElasticMQ(stored=False), ElasticMQ(stored=True)],
    }
    return makers[peer]() if peer in makers else None
