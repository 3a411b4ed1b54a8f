#!/usr/bin/env python3
"""Send one order to the SQS queue `orders`.

    sqs_producer.py

SQS_ENDPOINT names the broker, e.g. http://localhost:4566 (without it boto3
goes to AWS), SQS_QUEUE_URL the queue.  Region and credentials come from
where boto3 always looks: AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY.
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os

import boto3

sqs = boto3.client('sqs', endpoint_url=os.environ.get('SQS_ENDPOINT'))
queue_url = os.environ.get('SQS_QUEUE_URL', 'https://sqs.us-east-1.amazonaws.com/123456789012/orders')


def send_order(order_data):
    response = sqs.send_message(
        QueueUrl=queue_url,
        MessageBody=json.dumps(order_data),
        MessageAttributes={
            'order_type': {
                'StringValue': order_data['type'],
                'DataType': 'String'
            }
        },
        DelaySeconds=0
    )
    return response['MessageId']


order = {
    'order_id': '12347',
    'customer': 'barbara@example.com',
    'amount': 99.99,
    'type': 'express'
}
print('sqs: sent order', order['order_id'], 'as message', send_order(order))
