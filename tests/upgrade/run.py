"""run.py - every archive of the corpus, opened by the current binary: see README.md.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import subprocess
import sys
import time
import traceback

import newer
import scenario
from clients import TimedBroker
from promises import Promises

SETTLED_S = 1.0
HERE = os.path.dirname(os.path.abspath(__file__))


def unpack(name, broker):
    os.makedirs(broker.data)
    subprocess.run(["tar", "-C", broker.data, "-xJf", name + ".tar.xz"], check=True)


def kill(broker):
    """An AMQP ack has no answer: that much time is left for its commit."""
    time.sleep(SETTLED_S)
    broker.kill9()


def live(broker, promises, made_s):
    """Four lives: as found, after a kill, after leases and delays are over, and after an orderly end."""
    broker.start()
    promises.check(broker, hidden=True)
    promises.go_on(broker)
    kill(broker)
    broker.set_time(made_s + 120)
    broker.start()
    promises.check(broker, hidden=True)
    promises.go_on(broker)
    kill(broker)
    broker.set_time(made_s + 2 * scenario.DELAY_S)
    broker.start()
    promises.check(broker, hidden=False)
    promises.go_on(broker)
    broker.restart()
    promises.check(broker, hidden=False)
    assert broker.stop() == 0


def check(name):
    with open(name + ".json") as f:
        manifest = json.load(f)
    broker = TimedBroker()
    broker.set_time(manifest["made_s"] + 60)
    unpack(name, broker)
    try:
        live(broker, Promises(manifest), manifest["made_s"])
    except BaseException:
        print(broker.tail(10))
        raise
    finally:
        broker.close()


def main():
    names = sys.argv[1:] or sorted(n[:-5] for n in glob.glob("*/*.json", root_dir=os.path.join(HERE, "corpus")))
    tests = [(n, lambda n=n: check(os.path.join(HERE, "corpus", n))) for n in names]
    if not sys.argv[1:]:
        tests += [("newer: " + what, test) for what, test in newer.tests()]
    failed = 0
    for name, test in tests:
        try:
            test()
            print("ok    ", name, flush=True)
        except Exception:
            failed += 1
            print("FAILED", name)
            traceback.print_exc(file=sys.stdout)
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
