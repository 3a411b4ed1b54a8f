#!/usr/bin/env python3
"""Send orders with the producer settings that a careful team uses.

    kafka_careful_producer.py [COUNT]

Every order is acknowledged by all replicas and compressed with snappy; up to
16 KiB, or what comes in 5 ms, travel together.
KAFKA_BOOTSTRAP names the broker (localhost:9092).
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import sys

from kafka import KafkaProducer

count = int(sys.argv[1]) if len(sys.argv) > 1 else 100

producer = KafkaProducer(
    bootstrap_servers=[os.environ.get('KAFKA_BOOTSTRAP', 'localhost:9092')],
    value_serializer=lambda v: json.dumps(v).encode('utf-8'),
    acks='all',                                 # wait for all replicas
    retries=3,                                  # try again after a failure
    max_in_flight_requests_per_connection=5,
    compression_type='snappy',
    batch_size=16384,
    linger_ms=5                                 # collect a batch
)

sent = [
    producer.send('orders', {
        'order_id': 'careful-%d' % n,
        'customer': 'ada@example.com',
        'amount': 99.99,
        'items': ['item1', 'item2']
    })
    for n in range(count)
]
producer.flush()
offsets = [future.get(timeout=10).offset for future in sent]    # raises what went wrong
producer.close()

print('kafka: %d orders acknowledged, offsets %d to %d' % (count, offsets[0], offsets[-1]))
