// The driver of segmentio/kafka-go.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"hawser.test/drivers/protocol"
)

type driver struct {
	address  string
	clientID string
	client   *kafka.Client
	members  map[string]*member
}

var codecs = map[string]kafka.Compression{"": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

func patience() context.Context {
	c, _ := context.WithTimeout(context.Background(), 20*time.Second)
	return c
}

func (d *driver) hello(a *protocol.Ask) (any, error) {
	d.address, d.clientID = a.Address, a.ClientID
	d.client = &kafka.Client{Addr: kafka.TCP(a.Address), Timeout: 20 * time.Second, Transport: d.transport()}
	return "kafka-go " + protocol.Version("github.com/segmentio/kafka-go"), nil
}

// The metadata is cached for so long; what a scenario changes has to be seen soon.
func (d *driver) transport() *kafka.Transport {
	return &kafka.Transport{ClientID: d.clientID, MetadataTTL: 100 * time.Millisecond}
}

// -- administration

func (d *driver) create(a *protocol.Ask) (any, error) {
	wanted := kafka.TopicConfig{Topic: a.Topic, NumPartitions: a.Partitions, ReplicationFactor: 1}
	for name, value := range a.Configs {
		wanted.ConfigEntries = append(wanted.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := d.client.CreateTopics(patience(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{wanted}})
	if err != nil {
		return nil, err
	}
	return nil, answer.Errors[a.Topic]
}

func (d *driver) delete(a *protocol.Ask) (any, error) {
	answer, err := d.client.DeleteTopics(patience(), &kafka.DeleteTopicsRequest{Topics: []string{a.Topic}})
	if err != nil {
		return nil, err
	}
	return nil, answer.Errors[a.Topic]
}

func (d *driver) grow(a *protocol.Ask) (any, error) {
	answer, err := d.client.CreatePartitions(patience(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: a.Topic, Count: int32(a.Partitions)}}})
	if err != nil {
		return nil, err
	}
	return nil, answer.Errors[a.Topic]
}

func (d *driver) topics(a *protocol.Ask) (any, error) {
	answer, err := d.client.Metadata(patience(), &kafka.MetadataRequest{})
	names := []string{}
	for i := 0; err == nil && i < len(answer.Topics); i++ {
		names = append(names, answer.Topics[i].Name)
	}
	return names, err
}

func (d *driver) partitions(a *protocol.Ask) (any, error) {
	answer, err := d.client.Metadata(patience(), &kafka.MetadataRequest{Topics: []string{a.Topic}})
	if err != nil {
		return nil, err
	}
	return len(answer.Topics[0].Partitions), answer.Topics[0].Error
}

func (d *driver) configs(a *protocol.Ask) (any, error) {
	answer, err := d.client.DescribeConfigs(patience(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: a.Topic}}})
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, entry := range answer.Resources[0].ConfigEntries {
		found[entry.ConfigName] = entry.ConfigValue
	}
	return found, answer.Resources[0].Error
}

func (d *driver) alter(a *protocol.Ask) (any, error) {
	answer, err := d.client.IncrementalAlterConfigs(patience(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: a.Topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{
				{Name: a.Name, Value: a.Value, ConfigOperation: kafka.ConfigOperationSet}}}}})
	if err != nil {
		return nil, err
	}
	return nil, answer.Resources[0].Error
}

func (d *driver) groups(a *protocol.Ask) (any, error) {
	answer, err := d.client.ListGroups(patience(), &kafka.ListGroupsRequest{})
	names := []string{}
	for i := 0; err == nil && i < len(answer.Groups); i++ {
		names = append(names, answer.Groups[i].GroupID)
	}
	return names, err
}

func (d *driver) described(group string) (*kafka.DescribeGroupsResponseGroup, error) {
	answer, err := d.client.DescribeGroups(patience(), &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return nil, err
	}
	return &answer.Groups[0], answer.Groups[0].Error
}

func (d *driver) group(a *protocol.Ask) (any, error) {
	it, err := d.described(a.Group)
	if err != nil {
		return nil, err
	}
	return map[string]any{"state": it.GroupState, "members": len(it.Members)}, nil
}

func (d *driver) forget(a *protocol.Ask) (any, error) {
	answer, err := d.client.DeleteGroups(patience(), &kafka.DeleteGroupsRequest{GroupIDs: []string{a.Group}})
	if err != nil {
		return nil, err
	}
	return nil, answer.Errors[a.Group]
}

func (d *driver) committed(a *protocol.Ask) (any, error) {
	answer, err := d.client.OffsetFetch(patience(), &kafka.OffsetFetchRequest{GroupID: a.Group,
		Topics: map[string][]int{a.Topic: {int(a.Partition)}}})
	if err != nil {
		return nil, err
	}
	return answer.Topics[a.Topic][0].CommittedOffset, answer.Topics[a.Topic][0].Error
}

// -- records

func (d *driver) offset(a *protocol.Ask) (any, error) {
	p := int(a.Partition)
	wanted := kafka.OffsetRequest{Partition: p}
	switch at := a.At.(type) {
	case string:
		wanted = map[string]kafka.OffsetRequest{"earliest": kafka.FirstOffsetOf(p), "latest": kafka.LastOffsetOf(p)}[at]
	case float64:
		wanted = kafka.TimeOffsetOf(p, time.UnixMilli(int64(at)))
	}
	answer, err := d.client.ListOffsets(patience(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{a.Topic: {wanted}}})
	if err != nil {
		return nil, err
	}
	found := answer.Topics[a.Topic][0]
	switch a.At {
	case "earliest":
		return found.FirstOffset, found.Error
	case "latest":
		return found.LastOffset, found.Error
	}
	for offset := range found.Offsets {
		return offset, found.Error
	}
	return -1, found.Error
}

// A record in the caller's list: which one, and its partition if the caller chose it.
type place struct {
	index     int
	partition *int32
}

func (d *driver) produce(a *protocol.Ask) (any, error) {
	if a.Idempotent || a.Transaction != "" {
		return nil, protocol.Cannot("its writer is not idempotent")
	}
	placed := make([][2]int64, len(a.Records))
	hash := &kafka.Hash{}
	writer := &kafka.Writer{Addr: kafka.TCP(d.address), Topic: a.Topic, Transport: d.transport(), Compression: codecs[a.Codec],
		RequiredAcks: kafka.RequireAll, BatchSize: 10000, BatchBytes: 2000000, BatchTimeout: 10 * time.Millisecond, MaxAttempts: 3,
		Balancer: kafka.BalancerFunc(func(m kafka.Message, partitions ...int) int {
			if chosen := m.WriterData.(place).partition; chosen != nil {
				return int(*chosen)
			}
			return hash.Balance(m, partitions...)
		}),
		Completion: func(messages []kafka.Message, err error) {
			for _, m := range messages {
				placed[m.WriterData.(place).index] = [2]int64{int64(m.Partition), m.Offset}
			}
		}}
	if a.Acks != nil {
		writer.RequiredAcks = kafka.RequiredAcks(*a.Acks)
	}
	messages := make([]kafka.Message, len(a.Records))
	for i, r := range a.Records {
		messages[i] = kafka.Message{Key: protocol.Bytes(r.Key), Value: protocol.Bytes(r.Value), WriterData: place{i, r.Partition}}
		for _, h := range r.Headers {
			messages[i].Headers = append(messages[i].Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
		}
		if r.Timestamp != nil {
			messages[i].Time = time.UnixMilli(*r.Timestamp)
		}
	}
	err := writer.WriteMessages(patience(), messages...)
	writer.Close()
	var each kafka.WriteErrors
	if errors.As(err, &each) {
		for _, one := range each {
			if one != nil {
				err = one
			}
		}
	}
	return placed, err
}

func of(m kafka.Message) protocol.Record {
	timestamp, partition := m.Time.UnixMilli(), int32(m.Partition)
	r := protocol.Record{Key: protocol.Text(m.Key), Value: protocol.Text(m.Value), Headers: [][2]string{}, Timestamp: &timestamp,
		Partition: &partition, Offset: m.Offset}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, [2]string{h.Key, string(h.Value)})
	}
	return r
}

func (d *driver) dialer(clientID string) *kafka.Dialer {
	return &kafka.Dialer{ClientID: clientID, Timeout: 10 * time.Second}
}

func (d *driver) read(a *protocol.Ask) (any, error) {
	settings := kafka.ReaderConfig{Brokers: []string{d.address}, Topic: a.Topic, Partition: int(a.Partition), MaxBytes: 10 << 20,
		MaxWait: 100 * time.Millisecond, Dialer: d.dialer(d.clientID)}
	if a.Committed {
		settings.IsolationLevel = kafka.ReadCommitted
	}
	reader := kafka.NewReader(settings)
	defer reader.Close()
	if err := reader.SetOffset(a.Offset); err != nil {
		return nil, err
	}
	until, cancel := context.WithTimeout(context.Background(), a.Wait())
	defer cancel()
	found := []protocol.Record{}
	for len(found) < a.Count {
		m, err := reader.ReadMessage(until)
		if until.Err() != nil {
			break
		}
		if err != nil {
			return nil, err
		}
		if m.Value == nil {
			return nil, protocol.Cannot("its reader makes null of an empty value")
		}
		found = append(found, of(m))
	}
	return found, nil
}

// -- groups

// A Reader does not say which partitions it has; what the group says of the client with its id does.
type member struct {
	*protocol.Box
	group, topic, clientID string
	reader                 *kafka.Reader
	stop                   context.CancelFunc
}

func (d *driver) join(a *protocol.Ask) (any, error) {
	balancers := map[string]kafka.GroupBalancer{"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{}}
	if balancers[a.Strategy] == nil {
		return nil, protocol.Cannot("it has no such balancer")
	}
	m := &member{Box: protocol.NewBox(), group: a.Group, topic: a.Topic, clientID: d.clientID + "/" + a.Member}
	m.reader = kafka.NewReader(kafka.ReaderConfig{Brokers: []string{d.address}, GroupID: a.Group, Topic: a.Topic, MaxBytes: 10 << 20,
		MaxWait: 100 * time.Millisecond, Dialer: d.dialer(m.clientID), GroupBalancers: []kafka.GroupBalancer{balancers[a.Strategy]},
		SessionTimeout: a.Session(), HeartbeatInterval: 300 * time.Millisecond, JoinGroupBackoff: 300 * time.Millisecond,
		StartOffset: kafka.FirstOffset, IsolationLevel: kafka.ReadCommitted})
	reading, stop := context.WithCancel(context.Background())
	m.stop, d.members[a.Member] = stop, m
	go func() {
		for reading.Err() == nil {
			if message, err := m.reader.FetchMessage(reading); err == nil {
				m.Put(of(message))
			}
		}
	}()
	return nil, nil
}

func (d *driver) assigned(a *protocol.Ask) (any, error) {
	m, found := d.members[a.Member], []int{}
	group, err := d.described(m.group)
	if err != nil {
		return nil, err
	}
	for _, it := range group.Members {
		for _, topic := range it.MemberAssignments.Topics {
			if it.ClientID == m.clientID {
				found = append(found, topic.Partitions...)
			}
		}
	}
	return found, nil
}

func (d *driver) take(a *protocol.Ask) (any, error) {
	return d.members[a.Member].Take(a.Count, a.Wait()), nil
}

func (d *driver) commit(a *protocol.Ask) (any, error) {
	m, messages := d.members[a.Member], []kafka.Message{}
	for partition, offset := range m.Taken() {
		messages = append(messages, kafka.Message{Topic: m.topic, Partition: int(partition), Offset: offset - 1})
	}
	return nil, m.reader.CommitMessages(patience(), messages...)
}

func (d *driver) leave(a *protocol.Ask) (any, error) {
	m := d.members[a.Member]
	m.stop()
	delete(d.members, a.Member)
	return nil, m.reader.Close()
}

func codeOf(err error) *int {
	var known kafka.Error
	var large kafka.MessageTooLargeError
	code := 0
	switch {
	case errors.As(err, &known):
		code = int(known)
	case errors.As(err, &large):
		code = int(kafka.MessageSizeTooLarge)
	default:
		return nil
	}
	return &code
}

func main() {
	d := &driver{members: map[string]*member{}}
	protocol.Serve(map[string]protocol.Command{"hello": d.hello, "create": d.create, "delete": d.delete, "grow": d.grow,
		"topics": d.topics, "partitions": d.partitions, "configs": d.configs, "alter": d.alter, "groups": d.groups,
		"group": d.group, "forget": d.forget, "committed": d.committed, "offset": d.offset, "produce": d.produce, "read": d.read,
		"join": d.join, "assigned": d.assigned, "take": d.take, "commit": d.commit, "leave": d.leave}, codeOf)
}
