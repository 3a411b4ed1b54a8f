#!/usr/bin/env python3
"""Read orders with the consumer settings that a careful team uses.

    kafka_careful_consumer.py [COUNT]

Runs until it is stopped, or until COUNT orders were read.
KAFKA_BOOTSTRAP names the broker (localhost:9092).
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import sys

from kafka import KafkaConsumer

wanted = int(sys.argv[1]) if len(sys.argv) > 1 else None

consumer = KafkaConsumer(
    'orders',
    bootstrap_servers=[os.environ.get('KAFKA_BOOTSTRAP', 'localhost:9092')],
    group_id='careful-order-processor',
    value_deserializer=lambda m: json.loads(m.decode('utf-8')),
    auto_offset_reset='earliest',
    fetch_min_bytes=1,
    max_partition_fetch_bytes=1048576,
    session_timeout_ms=30000,
    heartbeat_interval_ms=3000
)

done = 0
for message in consumer:
    done += 1
    if wanted is None or done in (1, wanted):
        print('kafka: read order', message.value['order_id'], 'at offset', message.offset, flush=True)
    if done == wanted:
        break

consumer.close()
print('kafka: read', done, 'orders')
