# peer.py - a server that a scenario runs against instead of ours: tests/conformance/conftest.py says how it is named.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import subprocess

import pytest


class Peer:
    """A server that somebody else started."""

    def __init__(self):
        self.name = os.environ["HAWSER_TEST_PEER"]
        self.kafka = os.environ.get("HAWSER_TEST_KAFKA")
        self.amqp = os.environ.get("HAWSER_TEST_AMQP")
        self.sqs = os.environ.get("HAWSER_TEST_SQS")

    def restart(self, kill=False):
        command = os.environ.get("HAWSER_TEST_RESTART")
        if not command:
            pytest.skip("no way to restart the peer")
        subprocess.run(command, shell=True, check=True, timeout=120)

    def running(self):
        return True

    def tail(self):
        return ""
