#!/usr/bin/env python3
"""The whole story on one broker: every example, then one queue shared by all.

script/demo builds what is missing and starts this.  It prints a transcript, and
ends with 1 as soon as something is not as it says.
"""
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'tests', 'lib'))
warnings.simplefilter('ignore', DeprecationWarning)

import boto3                                            # noqa: E402
import pika                                             # noqa: E402
from kafka import KafkaConsumer, KafkaProducer          # noqa: E402
from broker import Broker, wait_until                   # noqa: E402


def title(text):
    print('\n%s\n%s' % (text, '-' * len(text)), flush=True)


def expect(true, what):
    print('  %s %s' % ('ok  ' if true else 'FAIL', what), flush=True)
    if not true:
        raise AssertionError(what)


# -- part one: the examples as they are ------------------------------------

EXAMPLES = (
    ('kafka_producer.py',),
    ('kafka_consumer.py', '1'),
    ('kafka_careful_producer.py', '100'),
    ('kafka_careful_consumer.py', '101'),
    ('rabbitmq_producer.py',),
    ('rabbitmq_consumer.py', '1'),
    ('sqs_producer.py',),
    ('sqs_consumer.py', '1'),
    ('sqs_configuration.py',),
    ('sqs_configuration.py',),
)


def run_examples(environment):
    title('The examples, unmodified clients, one broker')
    for name, *arguments in EXAMPLES:
        print('  $ %s' % ' '.join([name] + arguments), flush=True)
        ended = subprocess.run([sys.executable, '-W', 'ignore', os.path.join(HERE, name)] + arguments,
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               timeout=60)
        for line in ended.stdout.splitlines():
            print('    ' + line)
        expect(ended.returncode == 0, '%s ends well' % name)


# -- part two: one queue, three protocols ----------------------------------

class Orders:
    """A publisher and a reader of `orders` for each protocol."""

    def __init__(self, broker, environment):
        self.producer = KafkaProducer(bootstrap_servers=[broker.kafka], acks='all')

        host, port = broker.amqp.split(':')
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.channel.basic_qos(prefetch_count=1)
        self.pushed = []
        self.channel.basic_consume(queue='orders', on_message_callback=lambda *got: self.pushed.append(got[1:]))

        self.sqs = boto3.client('sqs', endpoint_url=environment['SQS_ENDPOINT'])
        self.url = self.sqs.get_queue_url(QueueName='orders')['QueueUrl']

        self.group = KafkaConsumer('orders', bootstrap_servers=[broker.kafka], group_id='order-audit',
                                   auto_offset_reset='latest')
        # Not a shorter poll: kafka-python 3.0.12 loses an assignment that arrives between two polls.
        wait_until(lambda: self.group.poll(timeout_ms=2000) or self.group.assignment(),
                   'the Kafka group has its partition')
        for partition in self.group.assignment():
            self.group.position(partition)      # fixes "the end" at this moment

    def publish(self, protocol, order):
        body = json.dumps(order)
        if protocol == 'kafka':
            self.producer.send('orders', body.encode(), key=b'order.created',
                               headers=[('order_type', b'express')]).get(timeout=10)
        elif protocol == 'rabbitmq':
            self.channel.basic_publish(exchange='orders', routing_key='order.created', body=body, mandatory=True,
                                       properties=pika.BasicProperties(delivery_mode=2,
                                                                       content_type='application/json',
                                                                       headers={'order_type': 'express'}))
        else:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes={
                'order_type': {'StringValue': 'express', 'DataType': 'String'}})
        print('  %-8s publishes %s' % (protocol, order['order_id']), flush=True)

    def amqp_worker_takes(self):
        def one():
            self.connection.process_data_events(time_limit=0.05)
            return self.pushed
        wait_until(one, 'a delivery to the AMQP worker')
        method, properties, body = self.pushed.pop()
        return method.delivery_tag, properties, json.loads(body)

    def sqs_worker_takes(self):
        got = self.sqs.receive_message(QueueUrl=self.url, WaitTimeSeconds=5, MaxNumberOfMessages=1,
                                       MessageAttributeNames=['All'])
        message = got['Messages'][0]
        return message['ReceiptHandle'], message.get('MessageAttributes', {}), json.loads(message['Body'])

    def group_reads(self, count):
        records = []

        def enough():
            for some in self.group.poll(timeout_ms=200).values():
                records.extend(some)
            return len(records) >= count
        wait_until(enough, '%d records for the Kafka group' % count)
        return records

    def close(self):
        self.group.close()
        self.producer.close()
        self.connection.close()


def share_a_queue(broker, environment):
    title('One queue, three protocols')
    print('  A Kafka group reads everything in `orders`; an AMQP worker and an SQS worker share the queue.')
    orders = Orders(broker, environment)
    settled = []

    for protocol in ('kafka', 'rabbitmq', 'sqs'):
        first = {'order_id': protocol + '-1', 'customer': 'ada@example.com'}
        second = {'order_id': protocol + '-2', 'customer': 'grace@example.com'}

        # The AMQP worker has room for one message and is given the first; while it
        # is busy, the second is left for the SQS worker.
        orders.publish(protocol, first)
        tag, properties, order = orders.amqp_worker_takes()
        expect(order == first, 'the AMQP worker gets %s' % first['order_id'])
        expect((properties.headers or {}).get('order_type') == 'express', '  with its header order_type')

        orders.publish(protocol, second)
        handle, attributes, order = orders.sqs_worker_takes()
        expect(order == second, 'the SQS worker gets %s' % second['order_id'])
        expect(attributes.get('order_type', {}).get('StringValue') == 'express', '  with its attribute order_type')

        orders.channel.basic_ack(tag)
        orders.sqs.delete_message(QueueUrl=orders.url, ReceiptHandle=handle)
        settled += [first, second]

    records = orders.group_reads(len(settled))
    expect([json.loads(r.value) for r in records] == settled, 'the Kafka group reads all six, in order')
    expect(all(dict(r.headers).get('order_type') == b'express' for r in records), '  each with its header order_type')
    expect([r.key for r in records[:4]] == [b'order.created'] * 4, '  the routing key is the record key')
    expect([r.offset - records[0].offset for r in records] == list(range(6)), '  at consecutive offsets of one log')

    left = orders.sqs.receive_message(QueueUrl=orders.url, WaitTimeSeconds=1).get('Messages', [])
    expect(left == [], 'nothing is left: each order was settled exactly once')
    count = orders.channel.queue_declare(queue='orders', passive=True).method.message_count
    expect(count == 0, '  and RabbitMQ\'s passive declare counts 0 messages')
    orders.close()


def main():
    broker = Broker()
    try:
        began = time.monotonic()
        broker.start()
        title('One process')
        print('  started in %.0f ms, %d KiB resident' % ((time.monotonic() - began) * 1000, broker.resident_kib()))
        for line in broker.said:
            print('  ' + line)

        host, port = broker.amqp.split(':')
        environment = dict(os.environ,
                           KAFKA_BOOTSTRAP=broker.kafka, AMQP_HOST=host, AMQP_PORT=port,
                           SQS_ENDPOINT='http://' + broker.sqs,
                           AWS_DEFAULT_REGION='us-east-1', AWS_ACCESS_KEY_ID='local', AWS_SECRET_ACCESS_KEY='local',
                           AWS_EC2_METADATA_DISABLED='true')
        os.environ.update(environment)

        run_examples(environment)
        share_a_queue(broker, environment)

        title('The end')
        code = broker.stop()
        expect(code == 0, 'SIGTERM ends the broker within 5 s with exit code 0')
    except Exception as problem:            # a transcript ends with a sentence, not with a stack
        print('\nThe demonstration failed: %s: %s' % (type(problem).__name__, problem))
        print(broker.tail())
        return 1
    finally:
        broker.close()
    return 0


if __name__ == '__main__':
    sys.exit(main())
