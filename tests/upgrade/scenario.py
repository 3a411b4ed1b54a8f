# scenario.py - what is written into a directory before it is kept, and the promises that come of it.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
from clients import (Amqp, KafkaRaw, Sqs, batch, commit_offset, create_topic, digest, now_ms, produce,
                     read_partition, transactions, wait_until)

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
DELAY_S = 600           # of delayed messages, and of leases: not over when the test begins, over when it ends


def kafka(broker, promises):
    for codec in CODECS:
        create_topic(broker, "codec-" + codec, 2)
        for turn in range(3):
            produce(broker, [("codec-" + codec, n % 2, b"key-%d" % (n % 7) if n % 3 else None,
                              b"%s %d of turn %d " % (codec.encode(), n, turn) * 5 if n % 11 else None, [("n", b"%d" % n)])
                             for n in range(60)], **{"compression.type": codec})
    create_topic(broker, "appended", 1, **{"message.timestamp.type": "LogAppendTime"})
    produce(broker, [("appended", 0, None, b"%d" % n, None) for n in range(20)])
    commit_offset(broker, "g", "codec-gzip", 0, 17)
    commit_offset(broker, "g", "codec-gzip", 1, 90)
    commit_offset(broker, "g", "codec-gzip", 0, 23)
    promises["groups"] = [["g", "codec-gzip", 0, 23], ["g", "codec-gzip", 1, 90]]


def producers(broker, promises):
    create_topic(broker, "sequenced", 1)
    with KafkaRaw(broker.kafka) as raw:
        who, sequence = raw.producer_id(), 0
        for n in range(8):
            values = [b"s-%d-%d" % (n, i) for i in range(3)]
            error, offset = raw.produce("sequenced", 0, batch(values, who, sequence, now_ms()))
            assert error == 0, error
            last = {"topic": "sequenced", "id": who[0], "sequence": sequence, "offset": offset,
                    "values": [v.decode() for v in values]}
            sequence += 3
    promises["producers"] = [last]


def table(broker, promises):
    """A compacted topic, of which a round has gone over the first part."""
    create_topic(broker, "table", 1, **{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100"})
    rows = {}

    def write(turns):
        for turn in turns:
            produce(broker, [("table", 0, b"key-%d" % n, b"turn %d" % turn if (n + turn) % 5 else None, None) for n in range(20)])
            rows.update({"key-%d" % n: "turn %d" % turn if (n + turn) % 5 else None for n in range(20)})

    write(range(6))
    wait_until(lambda: metric(broker, "hawser_compactions_total") > 0, "no round of compaction", timeout_s=120)
    write(range(6, 8))
    produce(broker, [("table", 0, b"last", b"turn 0", None)])
    rows["last"] = "turn 0"
    promises["tables"] = {"table/0": rows}


def metric(broker, name):
    for line in broker.get("/metrics").splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return 0


def ledger(broker, promises):
    create_topic(broker, "ledger", 1)
    transactions(broker, "ledger", [(True, 10, None), (False, 5, None), (True, 5, ("g", "ledger", 0, 7))])
    produce(broker, [("ledger", 0, None, b"the end", None)])
    promises["groups"].append(["g", "ledger", 0, 7])


def relaxed(broker):
    create_topic(broker, "relaxed", 1, **{"hawser.durability": "os", "retention.ms": "86400000", "retention.bytes": "1000000"})
    produce(broker, [("relaxed", 0, None, b"%d" % n, None) for n in range(50)])


def replayed(broker):
    """A queue that keeps what is settled: all is, and readers by offset see it."""
    with Amqp(broker) as a:
        a.channel.queue_declare("replayed", durable=True, arguments={"x-retention-ms": 86400000})
        for n in range(5):
            a.publish("", "replayed", "kept %d" % n)
        tags = [tag for tag, _ in a.take_all("replayed")]
        a.channel.basic_ack(tags[-1], multiple=True)
        wait_for(a.channel, "replayed", 0)


def amqp(broker, promises):
    with Amqp(broker) as a:
        c = a.channel
        c.exchange_declare("topics", "topic", durable=True)
        c.exchange_declare("heads", "headers", durable=True, arguments={"alternate-exchange": "fan"})
        c.exchange_declare("fan", "fanout", durable=True)
        c.exchange_declare("graves", "direct", durable=True)
        c.queue_declare("work", durable=True, arguments={"x-dead-letter-exchange": "graves",
                                                         "x-dead-letter-routing-key": "dead"})
        c.queue_declare("dead", durable=True)
        c.queue_declare("urgent", durable=True, arguments={"x-max-priority": 5})
        c.queue_declare("gone", durable=True)
        c.queue_declare("everything", durable=True)
        c.queue_declare("stored", durable=True)
        c.queue_bind("work", "topics", "orders.*.eu")
        c.queue_bind("urgent", "topics", "orders.#")
        c.queue_bind("urgent", "heads", "", {"x-match": "all", "kind": "alarm"})
        c.queue_bind("everything", "fan")
        c.queue_bind("dead", "graves", "dead")
        c.exchange_bind("fan", "topics", "copy")
        c.queue_delete("gone")

        for n in range(12):
            a.publish("", "work", "work %d" % n, {"n": n, "who": "café"}, type="order")
        # 0 and 1 are done, 2 and 3 die, 4 is put back; 5 and 6 stay with their consumer until the end.
        tags = [c.basic_get("work")[0].delivery_tag for _ in range(7)]
        c.basic_ack(tags[1], multiple=True)
        c.basic_reject(tags[2], requeue=False)
        c.basic_nack(tags[3], requeue=False)
        c.basic_reject(tags[4], requeue=True)
        for n in range(10):
            a.publish("", "urgent", "urgent %d" % n, priority=n % 3)
        for n in range(5):
            a.publish("fan", "", "for all %d" % n)
        wait_for(c, "dead", 2)
    promises["routes"] = [
        ["topics", "orders.new.eu", {}, ["urgent", "work"]], ["topics", "orders.new.us", {}, ["urgent"]],
        ["topics", "copy", {}, ["everything"]], ["heads", "", {"kind": "alarm"}, ["urgent"]],
        ["heads", "", {"kind": "news"}, ["everything"]], ["fan", "", {}, ["everything"]],
        ["graves", "dead", {}, ["dead"]],
    ]
    promises["no_queues"] = ["gone"]


def wait_for(channel, queue, count):
    for _ in range(500):
        if channel.queue_declare(queue, passive=True).method.message_count == count:
            return
        channel.connection.sleep(0.01)
    raise AssertionError("%s does not have %d messages" % (queue, count))


def look_at_queues(broker, promises):
    """What is ready now is what must be ready later: taken, written down, and put back."""
    with Amqp(broker) as a:
        promises["queues"] = {q: [m for _, m in a.take_all(q)] for q in ("work", "dead", "urgent", "everything", "stored")}


def sqs(broker, promises):
    s = Sqs(broker)
    s("CreateQueue", QueueName="letters", Attributes={"VisibilityTimeout": "45"}, tags={"team": "post"})
    s("CreateQueue", QueueName="unread", Attributes={})
    arn = s("GetQueueAttributes", QueueUrl="unread", AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s("CreateQueue", QueueName="tried", Attributes={
        "RedrivePolicy": '{"deadLetterTargetArn":"%s","maxReceiveCount":"1"}' % arn})
    s("CreateQueue", QueueName="line.fifo", Attributes={"FifoQueue": "true"})
    visible, hidden = {}, {}
    for n in range(8):
        m = s("SendMessage", QueueUrl="letters", MessageBody="letter %d" % n, MessageAttributes={
            "n": {"DataType": "Number", "StringValue": str(n)}, "raw": {"DataType": "Binary", "BinaryValue": "AAEC"}})
        visible.setdefault("letters", {})["letter %d" % n] = m["MessageId"]
    for n in range(3):
        m = s("SendMessage", QueueUrl="letters", MessageBody="later %d" % n, DelaySeconds=DELAY_S)
        hidden.setdefault("letters", {})["later %d" % n] = m["MessageId"]
    # One is deleted, one is leased for long.
    first, second = s("ReceiveMessage", QueueUrl="letters", MaxNumberOfMessages=2, VisibilityTimeout=DELAY_S)["Messages"]
    s("DeleteMessage", QueueUrl="letters", ReceiptHandle=first["ReceiptHandle"])
    del visible["letters"][first["Body"]]
    hidden["letters"][second["Body"]] = visible["letters"].pop(second["Body"])
    # Received once too often: in the dead-letter queue.
    m = s("SendMessage", QueueUrl="tried", MessageBody="poison")
    s("ReceiveMessage", QueueUrl="tried", VisibilityTimeout=0)
    assert not s("ReceiveMessage", QueueUrl="tried").get("Messages")
    visible["unread"], visible["tried"] = {"poison": m["MessageId"]}, {}
    # FIFO: group a waits for its first message, group b does not.
    for n, group in enumerate("abababab"):
        m = s("SendMessage", QueueUrl="line.fifo", MessageBody="%s %d" % (group, n), MessageGroupId=group,
              MessageDeduplicationId="id-%d" % n)
        (hidden if group == "a" else visible).setdefault("line.fifo", {})["%s %d" % (group, n)] = m["MessageId"]
    got = s("ReceiveMessage", QueueUrl="line.fifo", MaxNumberOfMessages=1, VisibilityTimeout=DELAY_S)["Messages"]
    assert [m["Body"] for m in got] == ["a 0"], got
    promises["sqs"] = {"visible": visible, "hidden": hidden, "deleted": [["letters", first["Body"]]],
                       "tags": {"letters": {"team": "post"}}, "visibility": {"letters": "45"},
                       "remembered": [["line.fifo", "b", "id-7", visible["line.fifo"]["b 7"]]]}


def bulk(broker, turns):
    """Enough for the journal's older half to move: what was written before is in segments then."""
    with Amqp(broker) as a:
        for turn in turns:
            produce(broker, [("bulk", 0, b"%d" % n, b"bulk %d " % n * 120, None)
                             for n in range(turn * 1000, (turn + 1) * 1000)])
            a.publish("", "stored", "stored %d " % turn * 100)


def hold(broker):
    """A consumer that has messages in its hands when the broker ends."""
    a = Amqp(broker)
    assert len([a.channel.basic_get("work") for _ in range(2)]) == 2
    return a


def write(broker):
    promises = {}
    kafka(broker, promises)
    producers(broker, promises)
    table(broker, promises)
    ledger(broker, promises)
    relaxed(broker)
    amqp(broker, promises)
    replayed(broker)
    create_topic(broker, "bulk", 1)
    bulk(broker, range(6))
    sqs(broker, promises)
    bulk(broker, range(6, 9))
    look_at_queues(broker, promises)
    promises["kafka"] = {}
    topics = {"codec-" + c: 2 for c in CODECS}
    topics.update(appended=1, sequenced=1, bulk=1, ledger=1, relaxed=1, replayed=1)
    for topic, partitions in topics.items():
        for partition in range(partitions):
            lines = read_partition(broker, topic, partition)
            promises["kafka"]["%s/%d" % (topic, partition)] = {"count": len(lines), "sha256": digest(lines)}
    return promises
