// Driver.java - the driver of Apache Kafka's own Java client.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Driver {
    interface Command { Object run(JsonNode asked) throws Exception; }

    final ObjectMapper json = new ObjectMapper();
    final Map<String, Command> commands = new HashMap<>();
    final Map<String, Member> members = new HashMap<>();
    final Map<String, KafkaProducer<String, String>> writers = new HashMap<>();       // with a transactional id
    final Map<String, Object> common = new HashMap<>();
    Admin admin;

    static final Map<String, String> ASSIGNORS = Map.of("range", "Range", "roundrobin", "RoundRobin", "sticky", "Sticky",
        "cooperative-sticky", "CooperativeSticky");

    public static void main(String[] args) throws Exception {
        new Driver().serve();
        System.exit(0);
    }

    void serve() throws Exception {
        commands.put("hello", this::hello);
        administration();
        commands.put("offset", this::offset);
        commands.put("produce", this::produce);
        commands.put("read", this::read);
        groups();
        transactions();
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; )
            out.println(json.writeValueAsString(answer(json.readTree(line))));
    }

    Map<String, Object> answer(JsonNode asked) {
        var command = commands.get(asked.get("do").asText());
        var answer = new HashMap<String, Object>();
        if (command == null) {
            answer.put("cannot", "the library has no such call");
            return answer;
        }
        try {
            answer.put("ok", command.run(asked));
        } catch (Exception e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            var error = Errors.forException(cause);
            answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
            answer.put("code", error == Errors.UNKNOWN_SERVER_ERROR ? null : error.code());
        }
        return answer;
    }

    static String text(JsonNode asked, String name) {
        return asked.hasNonNull(name) ? asked.get(name).asText() : null;
    }

    static int number(JsonNode asked, String name, int otherwise) {
        return asked.hasNonNull(name) ? asked.get(name).asInt() : otherwise;
    }

    static TopicPartition partition(JsonNode asked) {
        return new TopicPartition(text(asked, "topic"), number(asked, "partition", 0));
    }

    Object hello(JsonNode asked) throws Exception {
        common.put("bootstrap.servers", text(asked, "address"));
        common.put("client.id", text(asked, "client_id"));
        common.put("metadata.max.age.ms", 1000);
        common.put("reconnect.backoff.max.ms", 100);
        admin = Admin.create(common);
        var version = new Properties();
        version.load(Admin.class.getResourceAsStream("/kafka/kafka-version.properties"));
        return "Java " + version.getProperty("version");
    }

    // -- administration

    void administration() {
        commands.put("create", a -> {
            var wanted = new NewTopic(text(a, "topic"), number(a, "partitions", 1), (short) 1);
            if (a.hasNonNull("configs"))
                wanted.configs(json.convertValue(a.get("configs"), new TypeReference<Map<String, String>>() { }));
            return admin.createTopics(List.of(wanted)).all().get();
        });
        commands.put("delete", a -> admin.deleteTopics(List.of(text(a, "topic"))).all().get());
        commands.put("grow", a -> admin.createPartitions(
            Map.of(text(a, "topic"), NewPartitions.increaseTo(number(a, "partitions", 1)))).all().get());
        commands.put("topics", a -> admin.listTopics().names().get());
        commands.put("partitions", a -> admin.describeTopics(List.of(text(a, "topic"))).allTopicNames().get()
            .get(text(a, "topic")).partitions().size());
        commands.put("configs", a -> {
            var found = new HashMap<String, String>();
            var topic = new ConfigResource(ConfigResource.Type.TOPIC, text(a, "topic"));
            for (var entry : admin.describeConfigs(List.of(topic)).all().get().get(topic).entries())
                found.put(entry.name(), entry.value());
            return found;
        });
        commands.put("alter", a -> admin.incrementalAlterConfigs(Map.of(
            new ConfigResource(ConfigResource.Type.TOPIC, text(a, "topic")),
            List.of(new AlterConfigOp(new ConfigEntry(text(a, "name"), text(a, "value")), AlterConfigOp.OpType.SET)))).all().get());
        commands.put("trim", a -> admin.deleteRecords(
            Map.of(partition(a), RecordsToDelete.beforeOffset(a.get("before").asLong()))).all().get());
        commands.put("groups", a -> admin.listGroups().all().get().stream().map(GroupListing::groupId).toList());
        commands.put("group", a -> {
            var it = admin.describeConsumerGroups(List.of(text(a, "group"))).all().get().get(text(a, "group"));
            return Map.of("state", it.groupState().toString(), "members", it.members().size());
        });
        commands.put("forget", a -> admin.deleteConsumerGroups(List.of(text(a, "group"))).all().get());
        commands.put("committed", a -> {
            var found = admin.listConsumerGroupOffsets(text(a, "group")).partitionsToOffsetAndMetadata().get().get(partition(a));
            return found == null ? -1 : found.offset();
        });
    }

    Object offset(JsonNode a) throws Exception {
        var at = a.get("at");
        OffsetSpec wanted = at.isNumber() ? OffsetSpec.forTimestamp(at.asLong())
            : at.asText().equals("earliest") ? OffsetSpec.earliest() : OffsetSpec.latest();
        return admin.listOffsets(Map.of(partition(a), wanted)).partitionResult(partition(a)).get().offset();
    }

    // -- records

    Object produce(JsonNode a) throws Exception {
        if (a.hasNonNull("transaction"))
            return send(writers.get(text(a, "transaction")), a);
        var settings = new HashMap<String, Object>(common);
        settings.put("linger.ms", 10);
        settings.put("max.request.size", 2000000);
        settings.put("enable.idempotence", a.path("idempotent").asBoolean());
        settings.put("compression.type", a.hasNonNull("codec") ? text(a, "codec") : "none");
        settings.put("acks", Integer.toString(number(a, "acks", -1)));
        try (var writer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            return send(writer, a);
        }
    }

    static Object send(KafkaProducer<String, String> writer, JsonNode a) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (var r : a.get("records")) {
            List<Header> headers = new ArrayList<>();
            for (var pair : r.path("headers"))
                headers.add(new RecordHeader(pair.get(0).asText(), pair.get(1).asText().getBytes(StandardCharsets.UTF_8)));
            Integer partition = r.hasNonNull("partition") ? r.get("partition").asInt() : null;
            Long timestamp = r.hasNonNull("timestamp") ? r.get("timestamp").asLong() : null;
            sent.add(writer.send(new ProducerRecord<>(text(a, "topic"), partition, timestamp, text(r, "key"), text(r, "value"), headers)));
        }
        writer.flush();
        List<long[]> placed = new ArrayList<>();
        for (var one : sent)
            placed.add(new long[] {one.get().partition(), one.get().offset()});
        return placed;
    }

    static Map<String, Object> of(ConsumerRecord<String, String> record) {
        var it = new HashMap<String, Object>();
        it.put("key", record.key());
        it.put("value", record.value());
        it.put("timestamp", record.timestamp());
        it.put("partition", record.partition());
        it.put("offset", record.offset());
        List<String[]> headers = new ArrayList<>();
        for (var h : record.headers())
            headers.add(new String[] {h.key(), new String(h.value(), StandardCharsets.UTF_8)});
        it.put("headers", headers);
        return it;
    }

    KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(common);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    Object read(JsonNode a) {
        List<Object> found = new ArrayList<>();
        int count = number(a, "count", 1);
        String isolation = a.path("committed").asBoolean() ? "read_committed" : "read_uncommitted";
        try (var consumer = consumer(Map.of("isolation.level", isolation))) {
            consumer.assign(List.of(partition(a)));
            consumer.seek(partition(a), a.get("offset").asLong());
            long end = System.nanoTime() + number(a, "wait_ms", 10000) * 1000000L;
            while (found.size() < count && System.nanoTime() < end)
                for (var record : consumer.poll(Duration.ofMillis(100)))
                    found.add(of(record));
        }
        return found.subList(0, Math.min(count, found.size()));
    }

    // -- groups

    interface Job { Object run(KafkaConsumer<String, String> consumer) throws Exception; }

    // Only its thread touches the consumer; others leave jobs for it.
    static class Member extends Thread {
        final KafkaConsumer<String, String> consumer;
        final String topic;
        final BlockingQueue<Map<String, Object>> box = new LinkedBlockingQueue<>();
        final BlockingQueue<FutureTask<Object>> jobs = new LinkedBlockingQueue<>();
        final Map<TopicPartition, OffsetAndMetadata> taken = new HashMap<>();
        volatile List<Integer> assigned = List.of();
        volatile boolean ended;

        Member(KafkaConsumer<String, String> consumer, String topic) {
            this.consumer = consumer;
            this.topic = topic;
            setDaemon(true);
            start();
        }

        @Override public void run() {
            consumer.subscribe(List.of(topic));
            while (!ended) {
                for (var record : consumer.poll(Duration.ofMillis(50)))
                    box.add(of(record));
                assigned = consumer.assignment().stream().map(TopicPartition::partition).sorted().toList();
                for (FutureTask<Object> job; (job = jobs.poll()) != null; )
                    job.run();
            }
        }

        Object ask(Job job) throws Exception {
            var task = new FutureTask<Object>(() -> job.run(consumer));
            jobs.add(task);
            return task.get();
        }

        Object take(int count, long waitMs) throws InterruptedException {
            List<Map<String, Object>> found = new ArrayList<>();
            long end = System.nanoTime() + waitMs * 1000000;
            while (found.size() < count && System.nanoTime() < end) {
                var one = box.poll(10, TimeUnit.MILLISECONDS);
                if (one == null)
                    continue;
                found.add(one);
                taken.put(new TopicPartition(topic, (Integer) one.get("partition")), new OffsetAndMetadata((Long) one.get("offset") + 1));
            }
            return found;
        }
    }

    Member member(JsonNode a) { return members.get(text(a, "member")); }

    void groups() {
        commands.put("join", a -> {
            String strategy = a.hasNonNull("strategy") ? text(a, "strategy") : "range";
            members.put(text(a, "member"), new Member(consumer(Map.of("group.id", text(a, "group"), "isolation.level", "read_committed",
                "session.timeout.ms", number(a, "session_ms", 6000), "heartbeat.interval.ms", 300,
                "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + ASSIGNORS.get(strategy) + "Assignor")),
                text(a, "topic")));
            return null;
        });
        commands.put("assigned", a -> member(a).assigned);
        commands.put("take", a -> member(a).take(number(a, "count", 1), number(a, "wait_ms", 10000)));
        commands.put("commit", a -> member(a).ask(consumer -> { consumer.commitSync(member(a).taken); return null; }));
        commands.put("leave", a -> {
            var it = members.remove(text(a, "member"));
            return it.ask(consumer -> { it.ended = true; consumer.close(); return null; });
        });
    }

    // -- transactions

    void transactions() {
        commands.put("transactional", a -> {
            var settings = new HashMap<String, Object>(common);
            settings.put("transactional.id", text(a, "id"));
            settings.put("transaction.timeout.ms", number(a, "timeout_ms", 60000));
            var writer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
            writer.initTransactions();
            writers.put(text(a, "id"), writer);
            return null;
        });
        commands.put("begin", a -> { writers.get(text(a, "id")).beginTransaction(); return null; });
        commands.put("send_offsets", a -> {
            var it = member(a);
            var group = (ConsumerGroupMetadata) it.ask(KafkaConsumer::groupMetadata);
            writers.get(text(a, "id")).sendOffsetsToTransaction(it.taken, group);
            return null;
        });
        commands.put("end", a -> {
            if (a.get("commit").asBoolean())
                writers.get(text(a, "id")).commitTransaction();
            else
                writers.get(text(a, "id")).abortTransaction();
            return null;
        });
    }
}
