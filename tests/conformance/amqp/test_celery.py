# Celery: a worker in its own process, with retries, an ETA, priorities and remote control.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import tempfile
import time

import pytest

from broker import wait_until

celery = pytest.importorskip("celery")

CLIENT = "Celery " + celery.__version__
CHAPTER = "Celery"
HERE = os.path.dirname(os.path.abspath(__file__))


class Worker:
    def __init__(self, env):
        self.env, self.said = env, tempfile.TemporaryFile()
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-P", "solo", "-n", "w@%h",
                                         "--without-gossip", "--without-mingle"], cwd=HERE, env=self.env, stdout=self.said,
                                        stderr=self.said)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def app(server, fresh, monkeypatch):
    """The tasks, as a program that sends them has them."""
    monkeypatch.setenv("CELERY_TEST_NAME", fresh("celery"))
    monkeypatch.setenv("CELERY_TEST_BROKER", server.amqp)
    monkeypatch.syspath_prepend(HERE)
    sys.modules.pop("celery_app", None)
    import celery_app
    yield celery_app
    celery_app.app.close()


@pytest.fixture
def worker(app):
    it = Worker(dict(os.environ))
    wait_until(lambda: app.app.control.inspect(timeout=0.5).ping(), "a worker", 40)
    yield it
    it.stop()


def test_tasks_are_run_retried_delayed_and_survive_a_worker(app, worker, tmp_path):
    assert app.add.delay(2, 3).get(timeout=20) == 5
    assert [r.get(timeout=20) for r in [app.add.delay(n, 1) for n in range(20)]] == list(range(1, 21))
    assert app.third_time.delay().get(timeout=20) == 2

    started = time.time()
    assert app.add.apply_async((1, 1), countdown=1).get(timeout=20) == 2 and time.time() - started >= 1

    # The worker dies with the task in its hands, and another one is given it.
    result = app.die_once.delay(str(tmp_path / "died"))
    worker.process.wait(timeout=20)
    worker.start()
    assert result.get(timeout=40) == "redelivered"


def test_the_more_urgent_task_is_run_first(app, worker, tmp_path):
    gate, log = str(tmp_path / "gate"), str(tmp_path / "log")
    app.wait_for.delay(gate)
    results = [app.note.apply_async((log, str(p)), priority=p) for p in (1, 9, 5)]
    wait_until(lambda: app.app.control.inspect(timeout=0.5) is not None, "nothing")
    open(gate, "w").close()
    for result in results:
        result.get(timeout=20)
    done = open(log).read().split()
    # One may have been in the worker's hands already when the others came.
    assert sorted(done) == ["1", "5", "9"] and done.index("9") < done.index("5")


def test_a_worker_is_controlled_from_afar(app, worker):
    inspect = app.app.control.inspect(timeout=5)
    assert list(inspect.ping().values()) == [{"ok": "pong"}]
    assert "celery_app.add" in list(inspect.registered().values())[0]
    app.app.control.broadcast("shutdown")
    assert worker.process.wait(timeout=30) is not None
