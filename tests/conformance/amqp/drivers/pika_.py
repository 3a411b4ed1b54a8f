# pika_.py - the driver of pika.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

import pika

from protocol import message, serve


class Driver:
    def hello(self, address):
        host, port = address.rsplit(":", 1)
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
        self.channel_, self.boxes, self.gone = None, {}, 0
        return "pika " + pika.__version__

    @property
    def channel(self):
        if self.channel_ is None or self.channel_.is_closed:
            self.channel_ = self.connection.channel()
            self.channel_.confirm_delivery()
            self.channel_.add_on_cancel_callback(self.on_cancel)
        return self.channel_

    def on_cancel(self, _):
        self.gone += 1

    def declare(self, queue, durable=False, passive=False, arguments=None):
        ok = self.channel.queue_declare(queue, durable=durable, passive=passive, arguments=arguments).method
        return {"queue": ok.queue, "messages": ok.message_count, "consumers": ok.consumer_count}

    def delete(self, queue):
        self.channel.queue_delete(queue)

    def exchange(self, name, type, arguments=None):
        self.channel.exchange_declare(name, type, arguments=arguments)

    def bind(self, queue, exchange, key):
        self.channel.queue_bind(queue, exchange, key)

    def publish(self, exchange, key, body, mandatory=False, **properties):
        try:
            self.channel.basic_publish(exchange, key, body.encode(), pika.BasicProperties(delivery_mode=2, **properties), mandatory)
        except pika.exceptions.UnroutableError:
            return "returned"
        except pika.exceptions.NackError:
            return "nack"
        return "ack"

    def get(self, queue):
        method, properties, body = self.channel.basic_get(queue)
        return method and message(method.delivery_tag, body, method.redelivered, method.exchange, method.routing_key,
                                  properties.headers)

    def consume(self, queue, prefetch, arguments=None):
        self.channel.basic_qos(prefetch_count=prefetch)
        self.gone = 0
        box = []
        tag = self.channel.basic_consume(queue, lambda _, m, p, body: box.append(
            message(m.delivery_tag, body, m.redelivered, m.exchange, m.routing_key, p.headers)), arguments=arguments)
        self.boxes[tag] = box
        return tag

    def wait(self, done, wait_ms):
        end = time.monotonic() + wait_ms / 1000
        while not done() and time.monotonic() < end:
            self.connection.process_data_events(0.02)

    def take(self, tag, count, wait_ms):
        box = self.boxes[tag]
        self.wait(lambda: len(box) >= count, wait_ms)
        taken, box[:count] = box[:count], []
        return taken

    def settle(self, id, how, multiple=False, requeue=True):
        if how == "ack":
            self.channel.basic_ack(id, multiple)
        else:
            self.channel.basic_nack(id, multiple, requeue)

    def cancelled(self, wait_ms):
        self.wait(lambda: self.gone, wait_ms)
        return self.gone > 0


serve(Driver(), lambda e: getattr(e, "reply_code", None))
