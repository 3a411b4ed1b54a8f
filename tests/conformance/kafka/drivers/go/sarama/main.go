// The driver of sarama.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"hawser.test/drivers/protocol"
)

type driver struct {
	address  []string
	clientID string
	client   sarama.Client // for what is asked once
	admin    sarama.ClusterAdmin
	members  map[string]*member
	writers  map[string]sarama.SyncProducer // with a transactional id
}

var codecs = map[string]sarama.CompressionCodec{"": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}

func (d *driver) settings() *sarama.Config {
	c := sarama.NewConfig()
	c.Version, c.ClientID = sarama.MaxVersion, d.clientID
	c.Metadata.RefreshFrequency = time.Second
	c.Producer.Return.Successes = true
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	return c
}

func (d *driver) hello(a *protocol.Ask) (any, error) {
	d.address, d.clientID = []string{a.Address}, a.ClientID
	var err error
	if d.client, err = sarama.NewClient(d.address, d.settings()); err != nil {
		return nil, err
	}
	d.admin, err = sarama.NewClusterAdminFromClient(d.client)
	return "sarama " + protocol.Version("github.com/IBM/sarama"), err
}

// -- administration

func (d *driver) create(a *protocol.Ask) (any, error) {
	configs := map[string]*string{}
	for name, value := range a.Configs {
		configs[name] = &value
	}
	return nil, d.admin.CreateTopic(a.Topic, &sarama.TopicDetail{NumPartitions: int32(a.Partitions), ReplicationFactor: 1,
		ConfigEntries: configs}, false)
}

func (d *driver) delete(a *protocol.Ask) (any, error) { return nil, d.admin.DeleteTopic(a.Topic) }

func (d *driver) grow(a *protocol.Ask) (any, error) {
	return nil, d.admin.CreatePartitions(a.Topic, int32(a.Partitions), nil, false)
}

func (d *driver) topics(a *protocol.Ask) (any, error) {
	names := []string{}
	all, err := d.admin.ListTopics()
	for name := range all {
		names = append(names, name)
	}
	return names, err
}

func (d *driver) partitions(a *protocol.Ask) (any, error) {
	found, err := d.admin.DescribeTopics([]string{a.Topic})
	if err == nil && found[0].Err != sarama.ErrNoError {
		err = found[0].Err
	}
	if err != nil {
		return nil, err
	}
	return len(found[0].Partitions), nil
}

func (d *driver) configs(a *protocol.Ask) (any, error) {
	all, err := d.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: a.Topic})
	found := map[string]string{}
	for _, entry := range all {
		found[entry.Name] = entry.Value
	}
	return found, err
}

func (d *driver) alter(a *protocol.Ask) (any, error) {
	return nil, d.admin.IncrementalAlterConfig(sarama.TopicResource, a.Topic, map[string]sarama.IncrementalAlterConfigsEntry{
		a.Name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &a.Value}}, false)
}

func (d *driver) trim(a *protocol.Ask) (any, error) {
	return nil, d.admin.DeleteRecords(a.Topic, map[int32]int64{a.Partition: a.Before})
}

func (d *driver) groups(a *protocol.Ask) (any, error) {
	names := []string{}
	all, err := d.admin.ListConsumerGroups()
	for name := range all {
		names = append(names, name)
	}
	return names, err
}

func (d *driver) group(a *protocol.Ask) (any, error) {
	found, err := d.admin.DescribeConsumerGroups([]string{a.Group})
	if err != nil {
		return nil, err
	}
	return map[string]any{"state": found[0].State, "members": len(found[0].Members)}, nil
}

func (d *driver) forget(a *protocol.Ask) (any, error) {
	return nil, d.admin.DeleteConsumerGroup(a.Group)
}

func (d *driver) committed(a *protocol.Ask) (any, error) {
	found, err := d.admin.ListConsumerGroupOffsets(a.Group, map[string][]int32{a.Topic: {a.Partition}})
	if err != nil {
		return nil, err
	}
	return found.GetBlock(a.Topic, a.Partition).Offset, nil
}

// -- records

func (d *driver) offset(a *protocol.Ask) (any, error) {
	at, is := a.At.(float64)
	if !is {
		at = map[any]float64{"earliest": float64(sarama.OffsetOldest), "latest": float64(sarama.OffsetNewest)}[a.At]
	}
	return d.client.GetOffset(a.Topic, a.Partition, int64(at))
}

func (d *driver) produce(a *protocol.Ask) (any, error) {
	if a.Transaction != "" {
		return send(d.writers[a.Transaction], a)
	}
	c := d.settings()
	c.Producer.Compression, c.Producer.RequiredAcks = codecs[a.Codec], sarama.WaitForAll
	c.Producer.Flush.Frequency = 10 * time.Millisecond
	if a.Acks != nil {
		c.Producer.RequiredAcks = sarama.RequiredAcks(*a.Acks)
	}
	if a.Placed() {
		c.Producer.Partitioner = sarama.NewManualPartitioner
	}
	if a.Idempotent {
		c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	}
	writer, err := sarama.NewSyncProducer(d.address, c)
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	return send(writer, a)
}

func encoded(s *string) sarama.Encoder {
	if s == nil {
		return nil
	}
	return sarama.StringEncoder(*s)
}

func send(writer sarama.SyncProducer, a *protocol.Ask) (any, error) {
	messages := make([]*sarama.ProducerMessage, len(a.Records))
	for i, r := range a.Records {
		m := &sarama.ProducerMessage{Topic: a.Topic, Key: encoded(r.Key), Value: encoded(r.Value)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h[0]), Value: []byte(h[1])})
		}
		if r.Timestamp != nil {
			m.Timestamp = time.UnixMilli(*r.Timestamp)
		}
		if r.Partition != nil {
			m.Partition = *r.Partition
		}
		messages[i] = m
	}
	if err := writer.SendMessages(messages); err != nil {
		var each sarama.ProducerErrors
		if errors.As(err, &each) {
			err = each[0].Err
		}
		return nil, err
	}
	placed := make([][2]int64, len(messages))
	for i, m := range messages {
		placed[i] = [2]int64{int64(m.Partition), m.Offset}
	}
	return placed, nil
}

func of(m *sarama.ConsumerMessage) protocol.Record {
	timestamp, partition := m.Timestamp.UnixMilli(), m.Partition
	r := protocol.Record{Key: protocol.Text(m.Key), Value: protocol.Text(m.Value), Headers: [][2]string{}, Timestamp: &timestamp,
		Partition: &partition, Offset: m.Offset}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, [2]string{string(h.Key), string(h.Value)})
	}
	return r
}

func (d *driver) read(a *protocol.Ask) (any, error) {
	c := d.settings()
	if a.Committed {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	consumer, err := sarama.NewConsumer(d.address, c)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(a.Topic, a.Partition, a.Offset)
	if err != nil {
		return nil, err
	}
	defer partition.AsyncClose()
	found, end := []protocol.Record{}, time.After(a.Wait())
	for len(found) < a.Count {
		select {
		case m := <-partition.Messages():
			found = append(found, of(m))
		case <-end:
			return found, nil
		}
	}
	return found, nil
}

// -- groups

type member struct {
	*protocol.Box
	group   string
	topic   string
	reader  sarama.ConsumerGroup
	stop    context.CancelFunc
	ended   sync.WaitGroup
	mutex   sync.Mutex
	session sarama.ConsumerGroupSession
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.session = session
	m.Assign(session.Claims()[m.topic], true)
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	m.Assign(session.Claims()[m.topic], false)
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.Put(of(message))
	}
	return nil
}

var strategies = map[string]func() sarama.BalanceStrategy{"range": sarama.NewBalanceStrategyRange,
	"roundrobin": sarama.NewBalanceStrategyRoundRobin, "sticky": sarama.NewBalanceStrategySticky}

func (d *driver) join(a *protocol.Ask) (any, error) {
	strategy := strategies[a.Strategy]
	if strategy == nil {
		return nil, protocol.Cannot("it has no such strategy")
	}
	c := d.settings()
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy()}
	c.Consumer.Group.Session.Timeout, c.Consumer.Group.Heartbeat.Interval = a.Session(), 300*time.Millisecond
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	reader, err := sarama.NewConsumerGroup(d.address, a.Group, c)
	if err != nil {
		return nil, err
	}
	reading, stop := context.WithCancel(context.Background())
	m := &member{Box: protocol.NewBox(), group: a.Group, topic: a.Topic, reader: reader, stop: stop}
	d.members[a.Member] = m
	m.ended.Add(1)
	go func() {
		defer m.ended.Done()
		for reading.Err() == nil {
			reader.Consume(reading, []string{a.Topic}, m)
		}
	}()
	return nil, nil
}

func (d *driver) assigned(a *protocol.Ask) (any, error) { return d.members[a.Member].Assigned(), nil }
func (d *driver) take(a *protocol.Ask) (any, error) {
	return d.members[a.Member].Take(a.Count, a.Wait()), nil
}

func (d *driver) commit(a *protocol.Ask) (any, error) {
	m := d.members[a.Member]
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for partition, offset := range m.Taken() {
		m.session.MarkOffset(m.topic, partition, offset, "")
	}
	m.session.Commit()
	return nil, nil
}

func (d *driver) leave(a *protocol.Ask) (any, error) {
	m := d.members[a.Member]
	m.stop()
	m.ended.Wait()
	delete(d.members, a.Member)
	return nil, m.reader.Close()
}

// -- transactions

func (d *driver) transactional(a *protocol.Ask) (any, error) {
	c := d.settings()
	c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks = true, 1, sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Transaction.ID, c.Producer.Transaction.Timeout = a.ID, a.Timeout()
	writer, err := sarama.NewSyncProducer(d.address, c)
	d.writers[a.ID] = writer
	return nil, err
}

func (d *driver) begin(a *protocol.Ask) (any, error) { return nil, d.writers[a.ID].BeginTxn() }

func (d *driver) sendOffsets(a *protocol.Ask) (any, error) {
	m, all := d.members[a.Member], []*sarama.PartitionOffsetMetadata{}
	for partition, offset := range m.Taken() {
		all = append(all, &sarama.PartitionOffsetMetadata{Partition: partition, Offset: offset})
	}
	return nil, d.writers[a.ID].AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{m.topic: all}, m.group)
}

func (d *driver) end(a *protocol.Ask) (any, error) {
	if a.Commit {
		return nil, d.writers[a.ID].CommitTxn()
	}
	return nil, d.writers[a.ID].AbortTxn()
}

func codeOf(err error) *int {
	var known sarama.KError
	if errors.As(err, &known) {
		code := int(known)
		return &code
	}
	return nil
}

func main() {
	d := &driver{members: map[string]*member{}, writers: map[string]sarama.SyncProducer{}}
	protocol.Serve(map[string]protocol.Command{"hello": d.hello, "create": d.create, "delete": d.delete, "grow": d.grow,
		"topics": d.topics, "partitions": d.partitions, "configs": d.configs, "alter": d.alter, "trim": d.trim, "groups": d.groups,
		"group": d.group, "forget": d.forget, "committed": d.committed, "offset": d.offset, "produce": d.produce, "read": d.read,
		"join": d.join, "assigned": d.assigned, "take": d.take, "commit": d.commit, "leave": d.leave,
		"transactional": d.transactional, "begin": d.begin, "send_offsets": d.sendOffsets, "end": d.end}, codeOf)
}
