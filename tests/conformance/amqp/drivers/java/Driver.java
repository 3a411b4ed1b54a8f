// Driver.java - the driver of RabbitMQ's Java client; README.md, one folder up, is the protocol.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import com.fasterxml.jackson.databind.ObjectMapper;
import com.rabbitmq.client.*;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

public class Driver {
    private static final ObjectMapper json = new ObjectMapper();
    private static Connection connection;
    private static Channel channel;
    private static final Map<String, BlockingQueue<Map<String, Object>>> boxes = new ConcurrentHashMap<>();
    private static final BlockingQueue<String> gone = new LinkedBlockingQueue<>();
    private static volatile boolean returned;

    private static Channel open() throws IOException {
        if (channel == null || !channel.isOpen()) {
            channel = connection.createChannel();
            channel.confirmSelect();
            channel.addReturnListener(back -> returned = true);
        }
        return channel;
    }

    private static Map<String, Object> shown(Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
        Map<String, Object> headers = new HashMap<>(), it = new HashMap<>();
        if (properties.getHeaders() != null)
            properties.getHeaders().forEach((name, value) -> {
                if (value instanceof LongString)
                    headers.put(name, value.toString());
                else if (value instanceof Number || value instanceof Boolean)
                    headers.put(name, value);
            });
        it.put("id", envelope.getDeliveryTag());
        it.put("body", new String(body, StandardCharsets.UTF_8));
        it.put("redelivered", envelope.isRedeliver());
        it.put("exchange", envelope.getExchange());
        it.put("key", envelope.getRoutingKey());
        it.put("headers", headers);
        return it;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> table(Map<String, Object> asked, String name) {
        return (Map<String, Object>) asked.get(name);
    }

    private static String text(Map<String, Object> asked, String name) {
        return (String) asked.get(name);
    }

    private static boolean flag(Map<String, Object> asked, String name, boolean otherwise) {
        return (Boolean) asked.getOrDefault(name, otherwise);
    }

    private static Object publish(Map<String, Object> asked) throws Exception {
        AMQP.BasicProperties.Builder properties = new AMQP.BasicProperties.Builder().deliveryMode(2)
            .headers(table(asked, "headers")).expiration(text(asked, "expiration")).priority((Integer) asked.get("priority"));
        Channel it = open();
        returned = false;
        it.basicPublish(text(asked, "exchange"), text(asked, "key"), flag(asked, "mandatory", false), properties.build(),
            text(asked, "body").getBytes(StandardCharsets.UTF_8));
        if (!it.waitForConfirms(20000))
            return "nack";
        return returned ? "returned" : "ack";
    }

    private static Object consume(Map<String, Object> asked) throws Exception {
        Channel it = open();
        BlockingQueue<Map<String, Object>> box = new LinkedBlockingQueue<>();
        it.basicQos((Integer) asked.get("prefetch"));
        gone.clear();
        String tag = it.basicConsume(text(asked, "queue"), false, table(asked, "arguments"), new DefaultConsumer(it) {
            @Override
            public void handleDelivery(String t, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
                box.add(shown(envelope, properties, body));
            }

            @Override
            public void handleCancel(String t) {
                gone.add(t);
            }
        });
        boxes.put(tag, box);
        return tag;
    }

    private static Object take(Map<String, Object> asked) throws Exception {
        List<Object> taken = new ArrayList<>();
        long end = System.nanoTime() + (Integer) asked.get("wait_ms") * 1_000_000L;
        while (taken.size() < (Integer) asked.get("count")) {
            Object it = boxes.get(text(asked, "tag")).poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
            if (it == null)
                break;
            taken.add(it);
        }
        return taken;
    }

    private static Object run(Map<String, Object> asked) throws Exception {
        switch (text(asked, "do")) {
            case "hello":
                ConnectionFactory factory = new ConnectionFactory();
                factory.setUri("amqp://guest:guest@" + text(asked, "address"));
                factory.setAutomaticRecoveryEnabled(false);
                connection = factory.newConnection();
                return "Java " + connection.getClientProperties().get("version");
            case "declare":
                AMQP.Queue.DeclareOk ok = flag(asked, "passive", false) ? open().queueDeclarePassive(text(asked, "queue"))
                    : open().queueDeclare(text(asked, "queue"), flag(asked, "durable", false), false, false, table(asked, "arguments"));
                return Map.of("queue", ok.getQueue(), "messages", ok.getMessageCount(), "consumers", ok.getConsumerCount());
            case "delete":
                open().queueDelete(text(asked, "queue"));
                return null;
            case "exchange":
                open().exchangeDeclare(text(asked, "name"), text(asked, "type"), false, false, table(asked, "arguments"));
                return null;
            case "bind":
                open().queueBind(text(asked, "queue"), text(asked, "exchange"), text(asked, "key"));
                return null;
            case "publish":
                return publish(asked);
            case "get":
                GetResponse got = open().basicGet(text(asked, "queue"), false);
                return got == null ? null : shown(got.getEnvelope(), got.getProps(), got.getBody());
            case "consume":
                return consume(asked);
            case "take":
                return take(asked);
            case "settle":
                long id = ((Number) asked.get("id")).longValue();
                if (text(asked, "how").equals("ack"))
                    open().basicAck(id, flag(asked, "multiple", false));
                else
                    open().basicNack(id, flag(asked, "multiple", false), flag(asked, "requeue", true));
                return null;
            case "cancelled":
                return gone.poll((Integer) asked.get("wait_ms"), TimeUnit.MILLISECONDS) != null;
        }
        throw new IllegalArgumentException(text(asked, "do"));
    }

    private static Integer codeOf(Throwable e) {
        for (Throwable it = e; it != null; it = it.getCause())
            if (it instanceof ShutdownSignalException) {
                Object reason = ((ShutdownSignalException) it).getReason();
                if (reason instanceof AMQP.Channel.Close)
                    return ((AMQP.Channel.Close) reason).getReplyCode();
                if (reason instanceof AMQP.Connection.Close)
                    return ((AMQP.Connection.Close) reason).getReplyCode();
            }
        return null;
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] none) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null;) {
            Map<String, Object> answer = new HashMap<>();
            try {
                answer.put("ok", run(json.readValue(line, Map.class)));
            } catch (Exception e) {
                answer.put("error", String.valueOf(e.getCause() == null ? e : e.getCause()));
                answer.put("code", codeOf(e));
            }
            System.out.println(json.writeValueAsString(answer));
        }
        System.exit(0);
    }
}
