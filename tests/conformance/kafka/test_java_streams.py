# Kafka Streams, which leans on everything at once: transactions with the offsets of
# its group, compacted changelogs, topics that it makes and trims itself.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess

import pytest

import apache

CLIENT = "Kafka Streams " + apache.version()
CHAPTER = "Kafka"
pytestmark = [pytest.mark.skipif(not os.path.exists(apache.CLASSPATH), reason="no Kafka jars"), pytest.mark.timeout(240),
              pytest.mark.xdist_group("streams")]


def test_a_word_count_is_exact_while_the_broker_is_killed(java, server, fresh, tmp_path):
    kills = 3
    process = subprocess.Popen(java.command("JavaStreams", server.kafka, fresh("count"), "3000", tmp_path / "state", heap_mb=400),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            # Somewhere in the first half, so that there is something left to do.
            if kills and re.match(r"seen (250|750|1250)$", line):
                server.restart(kill=True)
                kills -= 1
        said = process.stdout.read()
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert said == "counted 3000, wrong 0\n" and kills == 0
