# celery_app.py - what the worker of test_celery.py runs.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os

from celery import Celery
from kombu import Queue

name = os.environ["CELERY_TEST_NAME"]
app = Celery(name, broker="amqp://guest:guest@%s//" % os.environ["CELERY_TEST_BROKER"], backend="rpc://")
app.conf.update(
    task_default_queue=name, task_queues=[Queue(name, queue_arguments={"x-max-priority": 10})],
    worker_prefetch_multiplier=1, task_acks_late=True, task_reject_on_worker_lost=True, broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False)


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=3, default_retry_delay=0.1)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry()
    return self.request.retries


@app.task
def note(path, word):
    with open(path, "a") as f:
        f.write(word + "\n")


@app.task
def wait_for(path):
    import time
    while not os.path.exists(path):
        time.sleep(0.02)


@app.task(bind=True)
def die_once(self, path):
    if not os.path.exists(path):
        open(path, "w").close()
        os._exit(9)
    return "redelivered" if self.request.delivery_info["redelivered"] else "again"
