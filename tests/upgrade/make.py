"""make.py - write the corpus of one version: see README.md.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import sys
import time

import scenario
from clients import Broker

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    binary, version = sys.argv[1:]
    folder = os.path.join(HERE, "corpus", version)
    os.makedirs(folder)
    for end in ("stop", "kill"):
        for shards in (1, 2):
            name = os.path.join(folder, "%s-%d" % (end, shards))
            broker = Broker(binary=binary, shards=shards, options=["--set", "journal_file_size=1MiB"])
            broker.start()
            promises = scenario.write(broker)
            promises.update(made_s=int(time.time()), shards=shards)
            consumer = scenario.hold(broker)
            if end == "kill":
                broker.kill9()
            else:
                assert broker.stop() == 0
            consumer.abandon()
            assert sum(len(os.listdir(os.path.join(broker.data, "shard-%d" % n, "segments"))) for n in range(shards)) > 1
            subprocess.run(["tar", "-C", broker.data, "--sort=name", "--owner=0", "--group=0", "--numeric-owner",
                            "-S", "-I", "xz -9e", "-cf", name + ".tar.xz", "."], check=True)
            with open(name + ".json", "w") as f:
                json.dump(promises, f, indent=1, sort_keys=True)
                f.write("\n")
            print("%s: %d bytes" % (name + ".tar.xz", os.path.getsize(name + ".tar.xz")))
            broker.close()


main()
