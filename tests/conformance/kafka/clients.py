# clients.py - the client libraries that test_every_client.py speaks to: how the driver of each is started.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os

from broker import ROOT

DRIVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers")
DEBIAN = "/usr/bin/python3"
CURRENT = os.path.join(ROOT, "build", "venv", "bin", "python")


def python(interpreter, script):
    return [interpreter, "-W", "ignore", os.path.join(DRIVERS, script)]


# What each is called in the table, and here.  The table shows its version, too.
COMMANDS = {
    "kafka-python-2": python(DEBIAN, "kafka_python.py"),
    "kafka-python": python(CURRENT, "kafka_python.py"),
    "aiokafka": python(CURRENT, "aio.py"),
    "librdkafka-2.0": python(DEBIAN, "confluent.py"),
    "librdkafka": python(CURRENT, "confluent.py"),
}
