# Kafka Streams, which leans on everything at once: transactions with the offsets of
# its group, compacted changelogs, topics that it makes and trims itself.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess

import pytest
from test_java import CHAPTER, HERE, jars  # noqa: F401

VERSION = re.search(r"kafka-streams-([0-9.]+)\.jar", jars())
CLIENT = "Kafka Streams %s" % (VERSION.group(1) if VERSION else "")
pytestmark = [pytest.mark.skipif(not VERSION, reason="no Kafka Streams jars"), pytest.mark.timeout(240)]


@pytest.mark.parametrize("kills", [0, 3])
def test_a_word_count_is_exact(server, fresh, tmp_path, kills):
    subprocess.run(["javac", "-cp", jars(), "-d", str(tmp_path), os.path.join(HERE, "JavaStreams.java")], check=True, timeout=60)
    process = subprocess.Popen(["java", "-Xmx400m", "-cp", str(tmp_path) + ":" + jars(), "-Dlog4j2.level=OFF", "JavaStreams",
                                server.kafka, fresh("count"), "3000", str(tmp_path / "state")],
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
    assert said == "counted 3000, wrong 0\n"
