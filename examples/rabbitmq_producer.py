#!/usr/bin/env python3
"""Publish one order to the RabbitMQ exchange `orders`.

    rabbitmq_producer.py

The durable topic exchange `orders` puts what matches `order.*` into the
durable queue `orders`.  AMQP_HOST and AMQP_PORT name the broker
(localhost, 5672).
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os

import pika

connection = pika.BlockingConnection(
    pika.ConnectionParameters(
        os.environ.get('AMQP_HOST', 'localhost'),
        int(os.environ.get('AMQP_PORT', '5672'))
    )
)
channel = connection.channel()

channel.exchange_declare(
    exchange='orders',
    exchange_type='topic',
    durable=True
)

channel.queue_declare(queue='orders', durable=True)
channel.queue_bind(
    exchange='orders',
    queue='orders',
    routing_key='order.*'
)

order = {
    'order_id': '12346',
    'customer': 'grace@example.com',
    'amount': 99.99
}
message = json.dumps(order)

channel.basic_publish(
    exchange='orders',
    routing_key='order.created',
    body=message,
    properties=pika.BasicProperties(
        delivery_mode=2,  # persistent
        content_type='application/json'
    )
)
connection.close()

print('rabbitmq: sent order', order['order_id'])
