#!/usr/bin/env python3
"""Work on the orders in the RabbitMQ queue `orders`, one at a time.

    rabbitmq_consumer.py [COUNT]

Runs until it is stopped, or until COUNT orders were acknowledged.
AMQP_HOST and AMQP_PORT name the broker (localhost, 5672).
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import sys

import pika

wanted = int(sys.argv[1]) if len(sys.argv) > 1 else None
done = 0


def process_order(order):
    print('rabbitmq: read order', order['order_id'], 'of', order['customer'], flush=True)


connection = pika.BlockingConnection(
    pika.ConnectionParameters(
        os.environ.get('AMQP_HOST', 'localhost'),
        int(os.environ.get('AMQP_PORT', '5672'))
    )
)
channel = connection.channel()


def callback(ch, method, properties, body):
    global done
    order = json.loads(body)
    process_order(order)
    ch.basic_ack(delivery_tag=method.delivery_tag)
    done += 1
    if done == wanted:
        ch.stop_consuming()


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue='orders', on_message_callback=callback)
channel.start_consuming()
connection.close()
