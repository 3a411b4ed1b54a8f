# promises.py - what a directory has promised, checked on a running broker, in each of its lives.
#
# A manifest has, each only if its version promised it:
#   kafka       TOPIC/PARTITION: number of records, and the SHA-256 of all of them
#   tables      TOPIC/PARTITION: key -> the last value (None: deleted), of a compacted topic
#   groups      [group, topic, partition, offset]
#   producers   the last batch of an idempotent producer
#   routes      [exchange, key, headers, queues that get it];  queues: what is ready, in order;  no_queues
#   sqs         visible and hidden messages (hidden: leased, delayed, or behind one that is), deleted, remembered, ...
#   made_s      when all this was so
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0

import ast
import json

import pika

from clients import (Amqp, KafkaRaw, Sqs, batch, commit_offset, digest, group_offset, produce, read_partition,
                     wait_until)


class Promises:
    def __init__(self, manifest):
        self.m = manifest
        self.added = {}             # TOPIC/PARTITION -> records that we wrote ourselves
        self.now_ms = manifest["made_s"] * 1000     # the broker's now, about
        self.ids = {p["id"] for p in manifest.get("producers", [])}
        self.lives = 0

    def check(self, broker, hidden):
        """Everything.  hidden: leases and delays are not over yet."""
        self.check_kafka(broker)
        self.check_tables(broker)
        self.check_groups(broker)
        self.check_queues(broker)
        self.check_sqs(broker, hidden)

    def go_on(self, broker):
        """Write and settle a little of everything; what changes is promised from now on."""
        self.lives += 1
        self.go_on_kafka(broker)
        self.go_on_producers(broker)
        self.go_on_amqp(broker)
        self.go_on_sqs(broker)

    # -- Kafka -----------------------------------------------------------

    def check_kafka(self, broker):
        for where, promised in self.m.get("kafka", {}).items():
            topic, partition = where.split("/")
            lines = read_partition(broker, topic, int(partition))
            old, new = lines[:promised["count"]], lines[promised["count"]:]
            assert len(old) == promised["count"], "%s: %d records of %d" % (where, len(old), promised["count"])
            assert digest(old) == promised["sha256"], "%s: not the same records" % where
            assert len(new) == self.added.get(where, 0), "%s: %d new records, not %s" % (where, len(new), self.added)

    def check_tables(self, broker):
        for where, promised in self.m.get("tables", {}).items():
            topic, partition = where.split("/")
            found = {}
            for line in read_partition(broker, topic, int(partition)):
                _, key, value, _, _ = json.loads(line)
                found[ast.literal_eval(key).decode()] = value
            for key, value in promised.items():
                expected = repr(value.encode() if value is not None else None)
                # A tombstone may be gone by now.
                assert found.get(key, repr(None)) == expected, "%s: %s is %s, not %s" % (where, key, found.get(key), expected)

    def check_groups(self, broker):
        for group, topic, partition, offset in self.m.get("groups", []):
            found = group_offset(broker, group, topic, partition)
            assert found == offset, "group %s: %s/%d at %d, not %d" % (group, topic, partition, found, offset)

    def go_on_kafka(self, broker):
        for where in self.m.get("kafka", {}):
            topic, partition = where.split("/")
            produce(broker, [(topic, int(partition), None, b"life %d" % self.lives, None)] * 3, self.now_ms)
            self.added[where] = self.added.get(where, 0) + 3
        for where, rows in self.m.get("tables", {}).items():
            topic, partition = where.split("/")
            rows["last"] = "life %d" % self.lives
            produce(broker, [(topic, int(partition), b"last", rows["last"].encode(), None)], self.now_ms)
        for promised in self.m.get("groups", []):
            promised[3] += 1
            commit_offset(broker, *promised)

    def go_on_producers(self, broker):
        for p in self.m.get("producers", []):
            who, values = (p["id"], 0), [v.encode() for v in p["values"]]
            with KafkaRaw(broker.kafka) as raw:
                again = raw.produce(p["topic"], 0, batch(values, who, p["sequence"], self.now_ms))
                assert again in ((0, p["offset"]), (46, -1)), "a retry was answered with error %d, offset %d" % again
                error, _ = raw.produce(p["topic"], 0, batch(values, who, p["sequence"] + 99, self.now_ms))
                assert error == 45, "a gap in the sequence was answered with error %d" % error
                p["sequence"] += len(values)
                error, p["offset"] = raw.produce(p["topic"], 0, batch(values, who, p["sequence"], self.now_ms))
                assert error == 0, "the next batch was answered with error %d" % error
                other = raw.producer_id()
                assert other[0] not in self.ids, "producer id %d was given out again" % other[0]
                self.ids.add(other[0])
            self.added[p["topic"] + "/0"] += len(values)

    # -- AMQP ------------------------------------------------------------

    def check_queues(self, broker):
        with Amqp(broker) as a:
            for queue, promised in self.m.get("queues", {}).items():
                found = [m for _, m in a.take_all(queue)]
                assert found == promised, "queue %s:\n%s\npromised:\n%s" % (queue, found, promised)
        for queue in self.m.get("no_queues", []):
            with Amqp(broker) as a:
                try:
                    a.channel.queue_declare(queue, passive=True)
                except pika.exceptions.ChannelClosedByBroker as e:
                    assert e.reply_code == 404
                else:
                    raise AssertionError("queue %s is there again" % queue)

    def go_on_amqp(self, broker):
        if "queues" not in self.m:
            return
        queues = self.m["queues"]
        with Amqp(broker) as a:
            for exchange, key, headers, to in self.m["routes"]:
                body = "life %d, %s to %s" % (self.lives, key, exchange)
                a.publish(exchange, key, body, headers, priority=0)
                for queue in to:
                    queues[queue].append({"body": body, "headers": headers, "priority": 0, "type": None, "deaths": []})
            for queue, promised in queues.items():
                wait_until(lambda: a.channel.queue_declare(queue, passive=True).method.message_count == len(promised),
                           "%s has %d messages" % (queue, len(promised)))
                for tag, message in a.take_all(queue)[:2]:
                    a.channel.basic_ack(tag)
                    promised.remove(message)

    # -- SQS -------------------------------------------------------------

    def check_sqs(self, broker, hidden):
        promised = self.m.get("sqs")
        if not promised:
            return
        s = Sqs(broker)
        for queue, visible in promised["visible"].items():
            expected = dict(visible)
            if not hidden:
                expected.update(promised["hidden"].get(queue, {}))
            got = s.receive_all(queue, 30)
            found = {m["Body"]: m["MessageId"] for m in got}
            assert found == expected, "queue %s: %s, promised %s" % (queue, found, expected)
            assert len(got) == len(found), "queue %s: something came twice" % queue
            if queue.endswith(".fifo"):
                bodies = [m["Body"] for m in got]
                for group in {b[0] for b in bodies}:
                    mine = [int(b.split()[1]) for b in bodies if b[0] == group]
                    assert mine == sorted(mine), "queue %s: %s is not in order" % (queue, bodies)
            for m in got:
                s("ChangeMessageVisibility", QueueUrl=queue, ReceiptHandle=m["ReceiptHandle"], VisibilityTimeout=0)
                if m["Body"].startswith("letter"):
                    assert m["MessageAttributes"]["n"]["StringValue"] == m["Body"].split()[1]
                    assert m["MessageAttributes"]["raw"]["BinaryValue"] == "AAEC"
        for queue, tags in promised["tags"].items():
            assert s("ListQueueTags", QueueUrl=queue)["Tags"] == tags
        for queue, seconds in promised["visibility"].items():
            found = s("GetQueueAttributes", QueueUrl=queue, AttributeNames=["All"])["Attributes"]
            assert found["VisibilityTimeout"] == seconds
        if hidden:
            for queue, group, identity, message in promised["remembered"]:
                again = s("SendMessage", QueueUrl=queue, MessageBody="again", MessageGroupId=group,
                          MessageDeduplicationId=identity)
                assert again["MessageId"] == message, "a duplicate was taken"

    def go_on_sqs(self, broker):
        promised = self.m.get("sqs")
        if not promised:
            return
        s = Sqs(broker)
        visible = promised["visible"]
        got = s("ReceiveMessage", QueueUrl="letters", MaxNumberOfMessages=1, VisibilityTimeout=30)["Messages"][0]
        s("DeleteMessage", QueueUrl="letters", ReceiptHandle=got["ReceiptHandle"])
        visible["letters"].pop(got["Body"], None)
        promised["hidden"]["letters"].pop(got["Body"], None)
        if self.lives > 1:
            return              # more than one receive takes would stay behind, locked with its group
        body = "b 101"
        m = s("SendMessage", QueueUrl="line.fifo", MessageBody=body, MessageGroupId="b", MessageDeduplicationId="life")
        visible["line.fifo"][body] = m["MessageId"]
