# conftest.py - what all scenarios share: the server under test, fresh names,
# and the record of what passed.
#
# Normally a broker of our own is started once for the whole run.  To prove a
# scenario against an original, name it in the environment:
#
#   HAWSER_TEST_PEER      rabbitmq or kafka; scenarios ask for it where a
#                         difference is intended, and say why there
#   HAWSER_TEST_AMQP, HAWSER_TEST_KAFKA, HAWSER_TEST_SQS     its address
#   HAWSER_TEST_RESTART   a command that restarts it and waits for its port
#
# HAWSER_TEST_RESULTS names a file that is given one JSON line per scenario;
# table.py reads them.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import sys
import uuid

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from broker import Broker  # noqa: E402
from peer import Peer      # noqa: E402

os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local",
                  AWS_EC2_METADATA_DISABLED="true")


def pytest_collection_modifyitems(items):
    """A hung client must not hang the run."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(60))


@pytest.fixture(scope="session")
def _server():
    if "HAWSER_TEST_PEER" in os.environ:
        yield Peer()
        return
    broker = Broker()
    broker.name = "hawser"
    broker.start()
    yield broker
    if broker.running():
        code = broker.stop()
        broker.close()
        assert code == 0, "the broker ended with exit code %s" % code
    broker.close()


@pytest.fixture
def server(_server):
    """The running server.  A test that ends it fails, and the next one has it back."""
    if not _server.running():
        _server.kill9()
        _server.start()
    yield _server
    if not _server.running():
        log = _server.tail()
        pytest.fail("the broker ended during this scenario\n" + log)


@pytest.fixture
def peer(_server):
    """'hawser', or the name of the original under test."""
    return _server.name


@pytest.fixture
def fresh():
    """A maker of names that nobody has used, legal in all three protocols."""
    mine = uuid.uuid4().hex[:10]
    return lambda what="t": "%s-%s" % (what, mine)


# -- the record ------------------------------------------------------------

def sentence(item):
    """test_an_order_comes_back[gzip] -> 'an order comes back (gzip)'"""
    words, _, case = item.name.partition("[")
    client = getattr(item, "callspec", None) and item.callspec.params.get("client")
    if client:                                              # has a column of its own
        case = "-".join(part for part in case.rstrip("]").replace(client, "").split("-") if part)
    text = re.sub(r"^test_", "", words).replace("_", " ")
    return text + (" (%s)" % case.rstrip("]") if case else "")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    path = os.environ.get("HAWSER_TEST_RESULTS")
    if not path:
        return
    if report.when == "call" or (report.when == "setup" and report.outcome != "passed") \
            or (report.when == "teardown" and report.outcome == "failed"):
        client = getattr(item, "client", None) or getattr(item.module, "CLIENT", None)
        line = {
            "area": os.path.basename(os.path.dirname(str(item.fspath))),
            "chapter": getattr(item.module, "CHAPTER", ""),
            "scenario": sentence(item),
            "order": [os.path.basename(str(item.fspath)), item.function.__code__.co_firstlineno],
            "client": client,
            "outcome": report.outcome,
            "why": "" if report.outcome == "passed" else str(report.longrepr[-1] if isinstance(report.longrepr, tuple)
                                                             else call.excinfo.exconly() if call.excinfo else "")[:500],
        }
        with open(path, "a") as f:
            f.write(json.dumps(line) + "\n")
