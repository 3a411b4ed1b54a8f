#!/usr/bin/env python3
# differential.py PORT [PORT] [NAME...] - the same raw AMQP conversations with one or two brokers.
#
# With one port it prints what the broker answered, frame by frame; with two it compares the answers and prints what
# differs (exit 1 if anything does that is not in INTENDED).  The conversations, each with queues of its own, go on at once.
#
#     differential.py 35672 5672          RabbitMQ (peers/rabbitmq.sh) against ours
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import difflib
import re
import sys
import threading

import conversations_declaring      # noqa: F401: each adds its own to SCENARIOS
import conversations_deliveries     # noqa: F401
import conversations_messages       # noqa: F401
from conversation import SCENARIOS

# What we answer otherwise on purpose (a pattern of our line), and why: docs/manual/amqp.md says it to users.
INTENDED = {
    r"protocol header 1\.9\.1": "RabbitMQ 4 answers foreign headers with AMQP 1.0's",
    r"Connection.Close.*method_id=(11|31), reply_code=(503|530)": "a failed handshake is explained",
    r"Connection.Close\(class_id=119": "an unknown method is named",
    r"reply_code=502, reply_text='SYNTAX_ERROR - malformed content header'": "RabbitMQ says 541",
    r"<- closed": "we close when both sides have said close-ok, RabbitMQ waits for the client",
    r"reply_code=406.*unknown exchange type": "as RabbitMQ 4: the connection survives",
    r"reply_code=406.*not supported yet": "an argument that the engine does not have is refused",
    r"consumer prefetch count is not set for stream": "the text of RabbitMQ 4",
    r"invalid arg 'x-queue-leader-locator' for queue .*invalid_queue_locator_arg": "classic queues have it in RabbitMQ 4",
    r"x-queue-master-locator": "RabbitMQ crashes",
    r"DeclareOk.*queue='dq2'": "... on a locator that it does not know",
    r"x-delivery-limit.*expected integer": "RabbitMQ accepts any type",
    r"b'PLAIN AMQPLAIN'": "a client that takes the first takes the one that everybody has",
    r"-- turn \d: .*'dc-b'.*'dc-a'": "the newest death first, as RabbitMQ 4; 3.10 turns the older ones round",
    r"content body is larger than the content header says": "RabbitMQ waits for ever",
    r"header size=6 {'delivery_mode': 2": "x-delivery-count when it is redelivered only, as RabbitMQ 4",
}


def normal(line):
    """What differs from run to run."""
    line = re.sub(r"amq\.(gen|ctag)-[\w-]{22}", r"amq.\1-*", line)
    line = re.sub(r"amq\.rabbitmq\.reply-to\.[\w=.+/-]+", "amq.rabbitmq.reply-to.*", line)
    return re.sub(r", \('x-last-death-\w+', [^)]*\)", "", line)         # since RabbitMQ 3.13


def converse(f, port, log):
    try:
        f(port, log)
    except Exception as e:          # the story ends here
        log.append("!! %s: %s" % (type(e).__name__, e))


def run(ports, names):
    """The log of each conversation, a list for each port."""
    logs = {f.__name__: [[] for _ in ports] for f in SCENARIOS if not names or f.__name__ in names}
    threads = [threading.Thread(target=converse, args=(f, port, logs[f.__name__][i]))
               for f in SCENARIOS if f.__name__ in logs for i, port in enumerate(ports)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return logs


def compare(name, first, second):
    """How many answers there were, and whether one differs that may not."""
    x, y = [normal(l) for l in first], [normal(l) for l in second]
    d = list(difflib.unified_diff(x, y, "first", "second", lineterm="", n=1))
    ours = [l for l in d[2:] if l.startswith("+")]
    bad = bool(d) and not (ours and all(any(re.search(p, l) for p in INTENDED) for l in ours))
    if bad:
        print("\n".join(["== " + name] + d))
    elif d:
        print("== %s: %d intended differences" % (name, len(ours)))
    return sum(1 for l in y if not l.startswith("->")), bad


def main():
    ports = [int(a) for a in sys.argv[1:] if a.isdigit()]
    logs = run(ports, [a for a in sys.argv[1:] if not a.isdigit()])
    if len(ports) == 1:
        for name, [log] in logs.items():
            print("\n   ".join(["== " + name] + log))
        return 0
    results = [compare(name, *both) for name, both in logs.items()]
    different = sum(bad for _, bad in results)
    print("%d answers compared; %d of %d conversations differ" % (sum(n for n, _ in results), different, len(results)))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
