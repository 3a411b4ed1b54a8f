#!/usr/bin/env python3
"""Create the FIFO queue `orders.fifo` with a dead-letter queue behind it.

    sqs_configuration.py

Running it twice changes nothing.  SQS_ENDPOINT is explained in sqs_producer.py.
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os

import boto3

sqs = boto3.resource('sqs', endpoint_url=os.environ.get('SQS_ENDPOINT'))

# Strict ordering: a FIFO queue.
queue = sqs.create_queue(
    QueueName='orders.fifo',
    Attributes={
        'FifoQueue': 'true',
        'ContentBasedDeduplication': 'true',
        'MaximumMessageSize': '262144',
        'MessageRetentionPeriod': '1209600',  # 14 days
        'VisibilityTimeout': '300',
        'ReceiveMessageWaitTimeSeconds': '20'
    }
)

# Where orders go that failed too often.  The article that these examples follow
# leaves FifoQueue out here; SQS refuses a name that ends in .fifo without it.
dlq = sqs.create_queue(
    QueueName='orders-dlq.fifo',
    Attributes={'FifoQueue': 'true'}
)

queue.set_attributes(
    Attributes={
        'RedrivePolicy': json.dumps({
            'deadLetterTargetArn': dlq.attributes['QueueArn'],
            'maxReceiveCount': 5
        })
    }
)

queue.reload()
print('sqs: orders.fifo is ready; after %s receives an order goes to %s' % (
    json.loads(queue.attributes['RedrivePolicy'])['maxReceiveCount'],
    json.loads(queue.attributes['RedrivePolicy'])['deadLetterTargetArn']))
