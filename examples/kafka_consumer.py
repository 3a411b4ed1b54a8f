#!/usr/bin/env python3
"""Read orders from the Kafka topic `orders` as the group `order-processor`.

    kafka_consumer.py [COUNT]

Runs until it is stopped, or until COUNT orders were read.
KAFKA_BOOTSTRAP names the broker (localhost:9092).
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import sys

from kafka import KafkaConsumer

wanted = int(sys.argv[1]) if len(sys.argv) > 1 else None


def process_order(order):
    print('kafka: read order', order['order_id'], 'of', order['customer'], flush=True)


consumer = KafkaConsumer(
    'orders',
    bootstrap_servers=[os.environ.get('KAFKA_BOOTSTRAP', 'localhost:9092')],
    group_id='order-processor',
    value_deserializer=lambda m: json.loads(m.decode('utf-8')),
    auto_offset_reset='earliest',
    enable_auto_commit=True
)

done = 0
for message in consumer:
    order = message.value
    process_order(order)
    done += 1
    if done == wanted:
        break

consumer.close()        # commits what was read
