// JavaAdmin.java - the Java client's Admin, driven from test_java_admin.py:
//
//     JavaAdmin BOOTSTRAP admin TOPIC                creates, describes and deletes
//     JavaAdmin BOOTSTRAP settings TOPIC             alters settings one by one, and prints what comes of it
//     JavaAdmin BOOTSTRAP offsets TOPIC GROUP        deletes a group's offsets, and prints what comes of it
//     JavaAdmin BOOTSTRAP ui TOPIC GROUP             every call that kafbat UI and AKHQ make, and what comes of it
//
// TOPIC has one record, and GROUP has committed it, where a GROUP is named.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.resource.*;

public class JavaAdmin {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", args[0]);
        switch (args[1]) {
        case "admin" -> admin(settings, args[2]);
        case "settings" -> alter(settings, args[2]);
        case "offsets" -> deleteOffsets(settings, args[2], args[3]);
        case "ui" -> ui(settings, args[2], args[3]);
        default -> throw new IllegalArgumentException(args[1]);
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
        var both = Set.of(new TopicPartition(topic, 0), new TopicPartition("nowhere", 0));
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

    interface Call { Object run() throws Exception; }

    static void say(String name, Call call) throws Exception {
        String said;
        try {
            said = String.valueOf(call.run());
        } catch (ExecutionException e) {
            said = e.getCause().getClass().getSimpleName();
        }
        System.out.println(name + ": " + said);
    }

    static void ui(Map<String, Object> settings, String topic, String group) throws Exception {
        try (var admin = Admin.create(settings)) {
            ofTopics(admin, topic);
            ofGroups(admin, topic, group);
            ofTheCluster(admin, topic);
            ofSecurity(admin);
            say("deleteTopics", () -> admin.deleteTopics(List.of(topic)).all().get());
        }
    }

    static void ofTopics(Admin admin, String topic) throws Exception {
        var p = new TopicPartition(topic, 0);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        say("listTopics", () -> admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get().contains(topic));
        say("describeTopics", () -> admin.describeTopics(List.of(topic), new DescribeTopicsOptions().includeAuthorizedOperations(true))
            .allTopicNames().get().get(topic).partitions().size());
        say("createTopics", () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
        say("createPartitions", () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get());
        say("describeConfigs", () -> admin.describeConfigs(List.of(resource, new ConfigResource(ConfigResource.Type.BROKER, "1")),
            new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all().get().size());
        say("incrementalAlterConfigs", () -> admin.incrementalAlterConfigs(Map.of(resource,
            List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET)))).all().get());
        for (var spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.maxTimestamp(), OffsetSpec.forTimestamp(0)))
            say("listOffsets " + spec.getClass().getSimpleName(), () -> admin.listOffsets(Map.of(p, spec)).all().get().get(p).offset());
        say("describeProducers", () -> admin.describeProducers(List.of(p)).all().get().get(p).activeProducers().size());
        say("deleteRecords", () -> admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(1))).lowWatermarks().get(p).get().lowWatermark());
    }

    static void ofGroups(Admin admin, String topic, String group) throws Exception {
        var p = new TopicPartition(topic, 0);
        say("listGroups", () -> admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)));
        say("describeConsumerGroups", () -> admin.describeConsumerGroups(List.of(group),
            new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all().get().get(group).groupState());
        say("listConsumerGroupOffsets", () -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(p).offset());
        say("alterConsumerGroupOffsets", () -> admin.alterConsumerGroupOffsets(group, Map.of(p, new OffsetAndMetadata(0))).all().get());
        say("deleteConsumerGroupOffsets", () -> admin.deleteConsumerGroupOffsets(group, Set.of(p)).all().get());
        say("alterConsumerGroupOffsets", () -> admin.alterConsumerGroupOffsets(group, Map.of(p, new OffsetAndMetadata(1))).all().get());
        say("deleteConsumerGroups", () -> admin.deleteConsumerGroups(List.of(group)).all().get());
    }

    static void ofTheCluster(Admin admin, String topic) throws Exception {
        var p = new TopicPartition(topic, 0);
        say("describeCluster", () -> admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)).nodes().get().size());
        say("describeFeatures", () -> admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("transaction.version"));
        say("describeLogDirs", () -> admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).size());
        say("listTransactions", () -> admin.listTransactions().all().get().size() >= 0);
        say("electLeaders", () -> admin.electLeaders(ElectionType.PREFERRED, Set.of(p)).partitions().get().get(p)
            .map(e -> e.getClass().getSimpleName()).orElse("done"));
        say("alterReplicaLogDirs", () -> admin.alterReplicaLogDirs(Map.of(new TopicPartitionReplica(topic, 0, 1), "/elsewhere")).all().get());
        say("alterPartitionReassignments", () -> admin.alterPartitionReassignments(
            Map.of(p, Optional.of(new NewPartitionReassignment(List.of(1))))).all().get());
        say("listPartitionReassignments", () -> admin.listPartitionReassignments().reassignments().get());
        say("describeMetadataQuorum", () -> admin.describeMetadataQuorum().quorumInfo().get().leaderId());
    }

    static void ofSecurity(Admin admin) throws Exception {
        var binding = new AclBinding(new ResourcePattern(ResourceType.TOPIC, "t", PatternType.LITERAL),
            new AccessControlEntry("User:u", "*", AclOperation.READ, AclPermissionType.ALLOW));
        var entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, "c"));
        say("describeAcls", () -> admin.describeAcls(AclBindingFilter.ANY).values().get());
        say("createAcls", () -> admin.createAcls(List.of(binding)).all().get());
        say("deleteAcls", () -> admin.deleteAcls(List.of(binding.toFilter())).all().get());
        say("describeClientQuotas", () -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get());
        say("alterClientQuotas", () -> admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity,
            List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1000.0))))).all().get());
        say("describeUserScramCredentials", () -> admin.describeUserScramCredentials().all().get());
    }
}
