// JavaTransactions.java - the Java client's transactions, driven from test_java_transactions.py:
//
//     JavaTransactions BOOTSTRAP write TOPIC ID commit|abort|leave FIRST COUNT     one transaction; `leave` flushes and goes
//     JavaTransactions BOOTSTRAP read TOPIC                     prints what read_committed sees, up to the last stable offset
//     JavaTransactions BOOTSTRAP copy FROM TO GROUP ID COUNT    consume, transform, produce; aborts the first attempt
//     JavaTransactions BOOTSTRAP fence TOPIC ID                 two producers with one id: prints what the first gets
//     JavaTransactions BOOTSTRAP timeout TOPIC ID               stays in a transaction for too long
//     JavaTransactions BOOTSTRAP describe TOPIC ID              what the Admin client says of an open one
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class JavaTransactions {
    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        switch (args[1]) {
        case "write" -> write(args[2], args[3], args[4], Integer.parseInt(args[5]), Integer.parseInt(args[6]));
        case "read" -> read(args[2]);
        case "copy" -> copy(args[2], args[3], args[4], args[5], Integer.parseInt(args[6]));
        case "fence" -> fence(args[2], args[3]);
        case "timeout" -> timeout(args[2], args[3]);
        case "describe" -> describe(args[2], args[3]);
        default -> throw new IllegalArgumentException(args[1]);
        }
    }

    static KafkaProducer<String, String> producer(String id, int timeoutMs) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("transactional.id", id);
        settings.put("transaction.timeout.ms", timeoutMs);
        settings.put("linger.ms", "0");
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    static KafkaConsumer<String, String> consumer(String group) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        if (group != null)
            settings.put("group.id", group);
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", "7");
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static List<TopicPartition> partitions(KafkaConsumer<String, String> consumer, String topic) {
        return consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
    }

    static void write(String topic, String id, String end, int first, int count) {
        var producer = producer(id, 60000);
        producer.beginTransaction();
        for (int i = first; i < first + count; i++)
            producer.send(new ProducerRecord<>(topic, "k" + i, "v" + i));
        producer.flush();
        switch (end) {
        case "commit" -> producer.commitTransaction();
        case "abort" -> producer.abortTransaction();
        default -> Runtime.getRuntime().halt(0);
        }
        producer.close();
    }

    static void read(String topic) {
        try (var consumer = consumer(null)) {
            var all = partitions(consumer, topic);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            var ends = consumer.endOffsets(all);
            long limit = System.nanoTime() + 40_000_000_000L;
            while (all.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                if (System.nanoTime() > limit)
                    throw new IllegalStateException("not at the end after 40 s: " + ends);
                for (var record : consumer.poll(Duration.ofMillis(200)))
                    System.out.println(record.key() + "=" + record.value());
            }
        }
    }

    static void copy(String from, String to, String group, String id, int count) {
        try (var consumer = consumer(group); var producer = producer(id, 60000)) {
            consumer.subscribe(List.of(from));
            long end = System.nanoTime() + 40_000_000_000L;
            int copied = 0, attempts = 0;
            while (copied < count && System.nanoTime() < end) {
                var records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty())
                    continue;
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (var record : records) {
                    producer.send(new ProducerRecord<>(to, record.key(), record.value() + "!"));
                    offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (attempts++ == 0) {          // it did not happen: read the same again
                    producer.abortTransaction();
                    for (var p : records.partitions()) {
                        var committed = consumer.committed(Set.of(p)).get(p);
                        consumer.seek(p, committed == null ? 0 : committed.offset());
                    }
                    continue;
                }
                producer.commitTransaction();
                copied += records.count();
            }
            System.out.println(copied);
        }
    }

    static void fence(String topic, String id) {
        var first = producer(id, 60000);
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, "k", "of the first"));
        first.flush();
        var second = producer(id, 60000);
        second.beginTransaction();
        second.send(new ProducerRecord<>(topic, "k", "of the second"));
        second.commitTransaction();
        try {
            first.commitTransaction();
            System.out.println("committed");
        } catch (KafkaException e) {
            System.out.println(e.getClass().getSimpleName());
        }
        second.close();
        first.close(Duration.ZERO);
    }

    static void timeout(String topic, String id) throws Exception {
        var slow = producer(id, 1500);
        slow.beginTransaction();
        slow.send(new ProducerRecord<>(topic, "k", "too late"));
        slow.flush();
        Thread.sleep(Integer.parseInt(System.getProperty("wait", "3000")));
        try {
            slow.commitTransaction();
            System.out.println("committed");
        } catch (KafkaException e) {
            System.out.println(e.getClass().getSimpleName());
        }
        slow.close(Duration.ZERO);
    }

    static void describe(String topic, String id) throws Exception {
        var open = producer(id, 60000);
        open.beginTransaction();
        open.send(new ProducerRecord<>(topic, 0, "k", "v"));
        open.flush();
        try (var admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            var said = admin.describeTransactions(List.of(id)).all().get().get(id);
            System.out.println(said.state() + " " + said.transactionTimeoutMs() + " " + said.topicPartitions());
            for (var listed : admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))).all().get())
                if (listed.transactionalId().equals(id))
                    System.out.println("listed " + listed.state());
            var p = new TopicPartition(topic, 0);
            for (var producer : admin.describeProducers(List.of(p)).all().get().get(p).activeProducers())
                System.out.println("producer " + (producer.producerId() == said.producerId()) + " " + producer.currentTransactionStartOffset().getAsLong());
        }
        open.abortTransaction();
        open.close();
    }
}
