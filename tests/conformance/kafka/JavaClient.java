// JavaClient.java - the Java client of Apache Kafka, driven from test_java.py:
//
//     JavaClient BOOTSTRAP produce TOPIC COUNT CODEC     prints the offsets
//     JavaClient BOOTSTRAP consume TOPIC GROUP COUNT     prints key=value, then commits
//     JavaClient BOOTSTRAP admin TOPIC                   creates, describes and deletes
//     JavaClient BOOTSTRAP settings TOPIC                alters settings one by one, and prints what comes of it
//     JavaClient BOOTSTRAP offsets TOPIC GROUP           deletes a group's offsets, and prints what comes of it
//     JavaClient BOOTSTRAP table TOPIC KEYS TIMES        writes to a compacted topic until it has KEYS records: prints them,
//                                                        and what a record without a key gets
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

public class JavaClient {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", args[0]);
        switch (args[1]) {
        case "produce" -> produce(settings, args[2], Integer.parseInt(args[3]), args[4]);
        case "consume" -> consume(settings, args[2], args[3], Integer.parseInt(args[4]));
        case "admin" -> admin(settings, args[2]);
        case "settings" -> alter(settings, args[2]);
        case "offsets" -> deleteOffsets(settings, args[2], args[3]);
        case "table" -> table(settings, args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]));
        default -> throw new IllegalArgumentException(args[1]);
        }
    }

    // As everybody has it since Kafka 3: idempotent, acks=all.
    static void produce(Map<String, Object> settings, String topic, int count, String codec) throws Exception {
        settings.put("compression.type", codec);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++)
                sent.add(producer.send(new ProducerRecord<>(topic, "k" + i, "v" + i)));
            for (var one : sent)
                System.out.println(one.get().offset());
        }
    }

    static void consume(Map<String, Object> settings, String topic, String group, int count) {
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", "1");          // so that what is committed is what was printed
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            long end = System.nanoTime() + 20_000_000_000L;
            int seen = 0;
            while (seen < count && System.nanoTime() < end)
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(record.key() + "=" + record.value());
                    seen++;
                }
            consumer.commitSync();
            if (seen < count)
                throw new IllegalStateException("only " + seen + " records");
        }
    }

    static void admin(Map<String, Object> settings, String topic) throws Exception {
        try (var admin = Admin.create(settings)) {
            var wanted = new NewTopic(topic, 3, (short) 1).configs(Map.of("max.message.bytes", "345678"));
            admin.createTopics(List.of(wanted)).all().get();
            System.out.println("partitions " + admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            System.out.println("setting " + admin.describeConfigs(List.of(resource)).all().get().get(resource).get("max.message.bytes").value());
            var cluster = admin.describeCluster();
            System.out.println("nodes " + cluster.nodes().get().size() + " controller " + (cluster.controller().get() != null));
            var dirs = admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).values().iterator().next();
            System.out.println("sizes " + dirs.replicaInfos().keySet().stream().filter(p -> p.topic().equals(topic)).count());
            var one = new TopicPartition(topic, 0);
            var election = admin.electLeaders(ElectionType.PREFERRED, Set.of(one)).partitions().get().get(one);
            System.out.println("election " + election.map(e -> e.getClass().getSimpleName()).orElse("done"));
            System.out.println("listed " + admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get().contains(resource));
            admin.deleteTopics(List.of(topic)).all().get();
        }
    }

    static void tell(Admin admin, ConfigResource resource, String name) throws Exception {
        var entry = admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name);
        System.out.println(name + "=" + entry.value() + " " + entry.source());
    }

    static void alter(Admin admin, ConfigResource resource, String name, String value, AlterConfigOp.OpType type, boolean only) throws Exception {
        var op = new AlterConfigOp(new ConfigEntry(name, value), type);
        try {
            admin.incrementalAlterConfigs(Map.of(resource, List.of(op)), new AlterConfigsOptions().validateOnly(only)).all().get();
            for (int tries = 0; tries < 10 && !only; tries++)
                Thread.sleep(20);                               // Apache Kafka answers before it shows
        } catch (java.util.concurrent.ExecutionException e) {
            System.out.println(e.getCause().getClass().getSimpleName() + ": " + e.getCause().getMessage());
        }
        tell(admin, resource, name);
    }

    static void alter(Map<String, Object> settings, String topic) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (var admin = Admin.create(settings)) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(Map.of("segment.ms", "5000")))).all().get();
            alter(admin, resource, "retention.ms", "60000", AlterConfigOp.OpType.SET, true);
            alter(admin, resource, "retention.ms", "60000", AlterConfigOp.OpType.SET, false);
            alter(admin, resource, "retention.ms", "-2", AlterConfigOp.OpType.SET, false);
            alter(admin, resource, "retention.ms", "1", AlterConfigOp.OpType.APPEND, false);
            alter(admin, resource, "retention.ms", "", AlterConfigOp.OpType.DELETE, false);
            alter(admin, resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND, false);
            alter(admin, resource, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT, false);
            alter(admin, resource, "cleanup.policy", "", AlterConfigOp.OpType.DELETE, false);
            tell(admin, resource, "segment.ms");
            alter(admin, new ConfigResource(ConfigResource.Type.BROKER, "1"), "num.partitions", "3", AlterConfigOp.OpType.SET, true);
        }
    }

    static void deleteOffsets(Map<String, Object> settings, String topic, String group) throws Exception {
        var both = Set.of(new org.apache.kafka.common.TopicPartition(topic, 0), new org.apache.kafka.common.TopicPartition("nowhere", 0));
        try (var admin = Admin.create(settings)) {
            for (String name : List.of(group, "no-" + group)) {
                var answer = admin.deleteConsumerGroupOffsets(name, both);
                for (var partition : both.stream().sorted(Comparator.comparing(Object::toString)).toList()) {
                    try {
                        answer.partitionResult(partition).get();
                        System.out.println(partition + " deleted");
                    } catch (java.util.concurrent.ExecutionException e) {
                        System.out.println(partition + " " + e.getCause().getClass().getSimpleName());
                    }
                }
            }
            System.out.println(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().size() + " left");
        }
    }

    static void table(Map<String, Object> settings, String topic, int keys, int times) throws Exception {
        try (var admin = Admin.create(settings)) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(Map.of("cleanup.policy", "compact",
                "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01")))).all().get();
        }
        settings.put("compression.type", "snappy");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < keys * times; i++)
                producer.send(new ProducerRecord<>(topic, "k" + i % keys, "v" + i));
            producer.flush();
            List<ConsumerRecord<String, String>> all = List.of();
            for (int tries = 0; tries < 40 && all.size() != keys; tries++, Thread.sleep(250))
                all = readAll(settings, topic);
            for (var record : all)
                System.out.println(record.offset() + " " + record.key() + "=" + record.value());
            try {
                producer.send(new ProducerRecord<>(topic, "no key")).get();
            } catch (java.util.concurrent.ExecutionException e) {
                System.out.println(e.getCause().getClass().getSimpleName() + ": " + e.getCause().getMessage());
            }
        }
    }

    static List<ConsumerRecord<String, String>> readAll(Map<String, Object> settings, String topic) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        var partition = new org.apache.kafka.common.TopicPartition(topic, 0);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end)
                for (var record : consumer.poll(Duration.ofMillis(200)))
                    found.add(record);
        }
        return found;
    }
}
