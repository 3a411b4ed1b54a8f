#!/usr/bin/env python3
"""Work on the orders in the SQS queue `orders`.

    sqs_consumer.py [COUNT]

Runs until it is stopped, or until COUNT orders were deleted.  SQS_ENDPOINT and
SQS_QUEUE_URL are explained in sqs_producer.py.
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import sys

import boto3

wanted = int(sys.argv[1]) if len(sys.argv) > 1 else None

sqs = boto3.client('sqs', endpoint_url=os.environ.get('SQS_ENDPOINT'))
queue_url = os.environ.get('SQS_QUEUE_URL', 'https://sqs.us-east-1.amazonaws.com/123456789012/orders')


def process_order(order):
    print('sqs: read order', order['order_id'], 'of', order['customer'], flush=True)


def receive_orders(max_messages=10):
    response = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=max_messages,
        WaitTimeSeconds=20,
        MessageAttributeNames=['All'],
        AttributeNames=['All']
    )

    messages = response.get('Messages', [])
    for message in messages:
        order = json.loads(message['Body'])
        process_order(order)

        # Only what was worked on is deleted; anything else comes back.
        sqs.delete_message(
            QueueUrl=queue_url,
            ReceiptHandle=message['ReceiptHandle']
        )

    return messages


done = 0
while wanted is None or done < wanted:
    left = 10 if wanted is None else min(10, wanted - done)
    done += len(receive_orders(left))
