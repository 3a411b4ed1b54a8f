# kombu_.py - the driver of py-amqp, which kombu and Celery speak through.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import socket
import time

import amqp
import kombu

from protocol import message, serve


class Driver:
    def hello(self, address):
        self.connection = amqp.Connection(address, confirm_publish=True)
        self.connection.connect()
        self.channel_, self.boxes, self.gone, self.returned = None, {}, 0, False
        return "kombu %s (amqp %s)" % (kombu.__version__, amqp.__version__)

    @property
    def channel(self):
        if self.channel_ is None or not self.channel_.is_open:
            self.channel_ = self.connection.channel()
            self.channel_.events["basic_return"].add(self.on_return)
        return self.channel_

    def on_return(self, *_):
        self.returned = True

    def on_cancel(self, *_):
        self.gone += 1

    def declare(self, queue, durable=False, passive=False, arguments=None):
        ok = self.channel.queue_declare(queue, passive=passive, durable=durable, auto_delete=False, arguments=arguments)
        return {"queue": ok.queue, "messages": ok.message_count, "consumers": ok.consumer_count}

    def delete(self, queue):
        self.channel.queue_delete(queue)

    def exchange(self, name, type, arguments=None):
        self.channel.exchange_declare(name, type, auto_delete=False, arguments=arguments)

    def bind(self, queue, exchange, key):
        self.channel.queue_bind(queue, exchange, key)

    def publish(self, exchange, key, body, mandatory=False, headers=None, **properties):
        self.returned = False
        try:
            self.channel.basic_publish(amqp.Message(body, application_headers=headers or {}, delivery_mode=2, **properties),
                                       exchange, key, mandatory=mandatory)
        except amqp.exceptions.MessageNacked:
            return "nack"
        return "returned" if self.returned else "ack"

    @staticmethod
    def shown(m):
        body = m.body if isinstance(m.body, bytes) else m.body.encode()
        return message(m.delivery_tag, body, m.delivery_info["redelivered"], m.delivery_info["exchange"],
                       m.delivery_info["routing_key"], m.headers)

    def get(self, queue):
        m = self.channel.basic_get(queue)
        return m and self.shown(m)

    def consume(self, queue, prefetch, arguments=None):
        self.channel.basic_qos(0, prefetch, False)
        self.gone = 0
        box = []
        tag = self.channel.basic_consume(queue, callback=lambda m: box.append(self.shown(m)), on_cancel=self.on_cancel,
                                         arguments=arguments)
        tag = getattr(tag, "consumer_tag", tag)
        self.boxes[tag] = box
        return tag

    def wait(self, done, wait_ms):
        end = time.monotonic() + wait_ms / 1000
        while not done() and time.monotonic() < end:
            try:
                self.connection.drain_events(timeout=0.02)
            except socket.timeout:
                pass

    def take(self, tag, count, wait_ms):
        box = self.boxes[tag]
        self.wait(lambda: len(box) >= count, wait_ms)
        taken, box[:count] = box[:count], []
        return taken

    def settle(self, id, how, multiple=False, requeue=True):
        if how == "ack":
            self.channel.basic_ack(id, multiple)
        else:
            self.channel.basic_reject(id, requeue)

    def cancelled(self, wait_ms):
        self.wait(lambda: self.gone, wait_ms)
        return self.gone > 0


serve(Driver(), lambda e: getattr(e, "reply_code", None) or None)
