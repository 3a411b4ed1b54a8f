#!/usr/bin/env python3
"""Send one order to the Kafka topic `orders`.

    kafka_producer.py

KAFKA_BOOTSTRAP names the broker (localhost:9092).
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os

from kafka import KafkaProducer

producer = KafkaProducer(
    bootstrap_servers=[os.environ.get('KAFKA_BOOTSTRAP', 'localhost:9092')],
    value_serializer=lambda v: json.dumps(v).encode('utf-8')
)

order = {
    'order_id': '12345',
    'customer': 'ada@example.com',
    'amount': 99.99,
    'items': ['item1', 'item2']
}
producer.send('orders', order)
producer.flush()
producer.close()

print('kafka: sent order', order['order_id'])
