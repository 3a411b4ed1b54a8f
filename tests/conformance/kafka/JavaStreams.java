// JavaStreams.java - a word count of Kafka Streams with exactly_once_v2, driven from test_java_streams.py:
//
//     JavaStreams BOOTSTRAP NAME RECORDS DIR
//
// Writes RECORDS words, counts them, and reads the counts as they are committed: each word's must go up by one each time.  Says
// "seen N" from time to time on standard error, and at the end "counted N, wrong N".
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Materialized;

public class JavaStreams {
    static final int WORDS = 20;
    static String bootstrap, source, target;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        source = args[1] + "-words";
        target = args[1] + "-counts";
        int records = Integer.parseInt(args[2]);
        try (var admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(source, 2, (short) 1), new NewTopic(target, 2, (short) 1))).all().get();
        }
        var streams = count(args[1], args[3]);
        var writer = new Thread(() -> write(records));
        streams.start();
        writer.start();
        check(records);
        streams.close(Duration.ofSeconds(10));
        System.exit(0);
    }

    static KafkaStreams count(String name, String dir) {
        Properties p = new Properties();
        p.put("application.id", name);
        p.put("bootstrap.servers", bootstrap);
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("commit.interval.ms", "200");
        p.put("statestore.cache.max.bytes", "0");               // so that every step of every count is written
        p.put("replication.factor", "1");
        p.put("state.dir", dir);
        p.put("num.stream.threads", "2");
        p.put("default.key.serde", Serdes.StringSerde.class);
        p.put("default.value.serde", Serdes.StringSerde.class);
        var builder = new StreamsBuilder();
        builder.<String, String>stream(source).selectKey((k, v) -> v).groupByKey().count(Materialized.as("n"))
            .toStream().mapValues(n -> "" + n).to(target);
        var streams = new KafkaStreams(builder.build(), p);
        streams.setUncaughtExceptionHandler(e -> StreamThreadExceptionResponse.REPLACE_THREAD);
        return streams;
    }

    static void write(int records) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 180000);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < records; i++) {
                producer.send(new ProducerRecord<>(source, "w" + i % WORDS));
                Thread.sleep(2);
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static void check(int records) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed",
                                              "enable.auto.commit", "false");
        var counts = new HashMap<String, Integer>();
        int seen = 0, wrong = 0;
        long end = System.nanoTime() + 150_000_000_000L;
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            var all = List.of(new TopicPartition(target, 0), new TopicPartition(target, 1));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            for (long more = 0; more < 10 && System.nanoTime() < end; more = seen < records ? 0 : more + 1)
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    int n = Integer.parseInt(record.value()), before = counts.getOrDefault(record.key(), 0);
                    wrong += n == before + 1 ? 0 : 1;
                    counts.put(record.key(), n);
                    if (++seen % 250 == 0)
                        System.err.println("seen " + seen);
                }
        }
        System.out.println("counted " + seen + ", wrong " + wrong);
    }
}
