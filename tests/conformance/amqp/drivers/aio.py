# aio.py - the driver of aio-pika.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import asyncio
import importlib.metadata
import json
import sys

import aio_pika
import aiormq

from protocol import message


class Driver:
    async def hello(self, address):
        self.connection = await aio_pika.connect("amqp://guest:guest@%s/" % address)
        self.channel_, self.boxes, self.unsettled, self.gone = None, {}, {}, 0
        return "aio-pika " + importlib.metadata.version("aio-pika")

    async def channel(self):
        if self.channel_ is None or self.channel_.is_closed:
            self.channel_ = await self.connection.channel(publisher_confirms=True, on_return_raises=True)
        return self.channel_

    async def raw(self):
        return await (await self.channel()).get_underlay_channel()

    async def declare(self, queue, durable=False, passive=False, arguments=None):
        ok = (await (await self.channel()).declare_queue(queue, durable=durable, passive=passive, arguments=arguments)
              ).declaration_result
        return {"queue": ok.queue, "messages": ok.message_count, "consumers": ok.consumer_count}

    async def delete(self, queue):
        await (await self.channel()).queue_delete(queue)

    async def exchange(self, name, type, arguments=None):
        await (await self.channel()).declare_exchange(name, type, arguments=arguments)

    async def bind(self, queue, exchange, key):
        await (await self.raw()).queue_bind(queue, exchange, key)

    async def publish(self, exchange, key, body, mandatory=False, headers=None, **properties):
        spec = aiormq.spec.Basic.Properties(headers=headers or {}, delivery_mode=2, **properties)
        try:
            await (await self.raw()).basic_publish(body.encode(), exchange=exchange, routing_key=key, properties=spec,
                                                   mandatory=mandatory)
        except aiormq.exceptions.PublishError:
            return "returned"
        except aiormq.exceptions.DeliveryError:
            return "nack"
        return "ack"

    def shown(self, m):
        self.unsettled[m.delivery_tag] = m
        return message(m.delivery_tag, m.body, m.redelivered, m.exchange, m.routing_key, m.headers)

    async def get(self, queue):
        it = await (await self.channel()).get_queue(queue, ensure=False)
        m = await it.get(fail=False)
        return m and self.shown(m)

    async def consume(self, queue, prefetch, arguments=None):
        channel = await self.channel()
        await channel.set_qos(prefetch_count=prefetch)
        box, self.boxes = [], {}

        async def on_message(m):
            box.append(self.shown(m))
        tag = await (await channel.get_queue(queue, ensure=False)).consume(on_message, arguments=arguments)
        self.boxes[tag] = box
        return tag

    async def take(self, tag, count, wait_ms):
        box = self.boxes[tag]
        for _ in range(wait_ms // 10):
            if len(box) >= count:
                break
            await asyncio.sleep(0.01)
        taken, box[:count] = box[:count], []
        return taken

    async def settle(self, id, how, multiple=False, requeue=True):
        m = self.unsettled.pop(id)
        await (m.ack(multiple) if how == "ack" else m.nack(multiple, requeue))

    async def cancelled(self, wait_ms):
        consumers = (await self.raw()).consumers
        for _ in range(wait_ms // 10):
            if not all(tag in consumers for tag in self.boxes):
                return True
            await asyncio.sleep(0.01)
        return False


def code_of(e):
    classes = {404: "NotFoundEntity", 406: "PreconditionFailed", 403: "AccessRefused", 405: "LockedResource"}
    for code, name in classes.items():
        if name in type(e).__name__:
            return code
    return getattr(e, "code", None)


async def main():
    driver = Driver()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        try:
            answer = {"ok": await getattr(driver, asked.pop("do"))(**asked)}
        except Exception as e:                  # whatever it is, the scenario judges it
            answer = {"error": "%s: %s" % (type(e).__name__, e), "code": code_of(e)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
