# clients.py - the client libraries that test_kafka_clients.py speaks to: how the driver of each is started.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os

from broker import ROOT

DRIVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers")
DEBIAN = "/usr/bin/python3"
CURRENT = os.path.join(ROOT, "build", "venv", "bin", "python")


def built(name):
    return [os.path.join(ROOT, "build", "drivers", name)]


def python(interpreter, script):
    return [interpreter, "-W", "ignore", os.path.join(DRIVERS, script)]


# What each is called in the table, and here.  The table shows its version, too.
COMMANDS = {
    "kafka-python-2": python(DEBIAN, "kafka_python.py"),
    "kafka-python": python(CURRENT, "kafka_python.py"),
    "aiokafka": python(CURRENT, "aio.py"),
    "librdkafka-2.0": python(DEBIAN, "confluent.py"),
    "librdkafka": python(CURRENT, "confluent.py"),
    "franz-go": built("franz"),
    "sarama": built("sarama"),
    "kafka-go": built("segmentio"),
    "KafkaJS": ["env", "NODE_PATH=" + os.path.join(ROOT, "build", "drivers", "node", "node_modules"), "node",
                os.path.join(DRIVERS, "node", "driver.js")],
    # It starts often and runs briefly: the compiler that starts fast is enough for it.
    "Java": ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m",
             "@" + os.path.join(ROOT, "build", "drivers", "java", "arguments"), "Driver"],
    "rskafka": built("rust/debug/driver"),
}
