// The driver of franz-go.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"hawser.test/drivers/protocol"
)

type member struct {
	*protocol.Box
	client  *kgo.Client
	session *kgo.GroupTransactSession // where it copies in transactions
	topic   string
	stop    context.CancelFunc
}

type driver struct {
	common   []kgo.Opt
	admin    *kadm.Client
	members  map[string]*member
	clients  map[string]*kgo.Client // with a transactional id
	sessions map[string]*kgo.GroupTransactSession
}

var codecs = map[string]kgo.CompressionCodec{"": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}

var balancers = map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
	"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer()}

var background = context.Background()

func patience() context.Context {
	c, _ := context.WithTimeout(background, 20*time.Second)
	return c
}

func (d *driver) client(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(append([]kgo.Opt{}, d.common...), more...)...)
}

func (d *driver) hello(a *protocol.Ask) (any, error) {
	d.common = []kgo.Opt{kgo.SeedBrokers(a.Address), kgo.ClientID(a.ClientID), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second)}
	client, err := d.client()
	d.admin = kadm.NewClient(client)
	return "franz-go " + protocol.Version("github.com/twmb/franz-go"), err
}

// -- administration

func (d *driver) create(a *protocol.Ask) (any, error) {
	configs := map[string]*string{}
	for name, value := range a.Configs {
		configs[name] = &value
	}
	_, err := d.admin.CreateTopic(patience(), int32(a.Partitions), 1, configs, a.Topic)
	return nil, err
}

func (d *driver) delete(a *protocol.Ask) (any, error) {
	_, err := d.admin.DeleteTopic(patience(), a.Topic)
	return nil, err
}

func (d *driver) grow(a *protocol.Ask) (any, error) {
	answers, err := d.admin.UpdatePartitions(patience(), a.Partitions, a.Topic)
	return nil, errors.Join(err, answers.Error())
}

func (d *driver) topics(a *protocol.Ask) (any, error) {
	all, err := d.admin.ListTopics(patience())
	return all.Names(), err
}

func (d *driver) partitions(a *protocol.Ask) (any, error) {
	all, err := d.admin.ListTopics(patience(), a.Topic)
	return len(all[a.Topic].Partitions), errors.Join(err, all[a.Topic].Err)
}

func (d *driver) configs(a *protocol.Ask) (any, error) {
	all, err := d.admin.DescribeTopicConfigs(patience(), a.Topic)
	if err != nil {
		return nil, err
	}
	found := map[string]*string{}
	for _, entry := range all[0].Configs {
		found[entry.Key] = entry.Value
	}
	return found, all[0].Err
}

func (d *driver) alter(a *protocol.Ask) (any, error) {
	answers, err := d.admin.AlterTopicConfigs(patience(), []kadm.AlterConfig{{Name: a.Name, Value: &a.Value}}, a.Topic)
	if err != nil {
		return nil, err
	}
	return nil, answers[0].Err
}

func (d *driver) trim(a *protocol.Ask) (any, error) {
	offsets := kadm.Offsets{}
	offsets.AddOffset(a.Topic, a.Partition, a.Before, -1)
	answers, err := d.admin.DeleteRecords(patience(), offsets)
	return nil, errors.Join(err, answers.Error())
}

func (d *driver) groups(a *protocol.Ask) (any, error) {
	all, err := d.admin.ListGroups(patience())
	return all.Groups(), err
}

func (d *driver) group(a *protocol.Ask) (any, error) {
	all, err := d.admin.DescribeGroups(patience(), a.Group)
	it := all[a.Group]
	return map[string]any{"state": it.State, "members": len(it.Members)}, errors.Join(err, it.Err)
}

func (d *driver) forget(a *protocol.Ask) (any, error) {
	_, err := d.admin.DeleteGroup(patience(), a.Group)
	return nil, err
}

func (d *driver) committed(a *protocol.Ask) (any, error) {
	all, err := d.admin.FetchOffsets(patience(), a.Group)
	if found, is := all.Lookup(a.Topic, a.Partition); is {
		return found.At, err
	}
	return -1, err
}

// -- records

func (d *driver) offset(a *protocol.Ask) (any, error) {
	var all kadm.ListedOffsets
	var err error
	switch at := a.At.(type) {
	case string:
		if at == "earliest" {
			all, err = d.admin.ListStartOffsets(patience(), a.Topic)
		} else {
			all, err = d.admin.ListEndOffsets(patience(), a.Topic)
		}
	case float64:
		all, err = d.admin.ListOffsetsAfterMilli(patience(), int64(at), a.Topic)
	}
	found, _ := all.Lookup(a.Topic, a.Partition)
	return found.Offset, errors.Join(err, found.Err)
}

func (d *driver) produce(a *protocol.Ask) (any, error) {
	if a.Transaction != "" {
		if session := d.sessions[a.Transaction]; session != nil {
			return send(session.ProduceSync, a)
		}
		return send(d.clients[a.Transaction].ProduceSync, a)
	}
	options := []kgo.Opt{kgo.ProducerBatchCompression(codecs[a.Codec]), kgo.ProducerLinger(10 * time.Millisecond)}
	if !a.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if a.Acks != nil {
		options = append(options, kgo.RequiredAcks(map[int]kgo.Acks{0: kgo.NoAck(), 1: kgo.LeaderAck(), -1: kgo.AllISRAcks()}[*a.Acks]))
	}
	if a.Placed() {
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	client, err := d.client(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return send(client.ProduceSync, a)
}

func send(produce func(context.Context, ...*kgo.Record) kgo.ProduceResults, a *protocol.Ask) (any, error) {
	records := make([]*kgo.Record, len(a.Records))
	for i, r := range a.Records {
		it := &kgo.Record{Topic: a.Topic, Key: protocol.Bytes(r.Key), Value: protocol.Bytes(r.Value)}
		for _, h := range r.Headers {
			it.Headers = append(it.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
		if r.Timestamp != nil {
			it.Timestamp = time.UnixMilli(*r.Timestamp)
		}
		if r.Partition != nil {
			it.Partition = *r.Partition
		}
		records[i] = it
	}
	if err := produce(patience(), records...).FirstErr(); err != nil {
		return nil, err
	}
	placed := make([][2]int64, len(records))
	for i, r := range records {
		placed[i] = [2]int64{int64(r.Partition), r.Offset}
	}
	return placed, nil
}

func of(r *kgo.Record) protocol.Record {
	timestamp, partition := r.Timestamp.UnixMilli(), r.Partition
	it := protocol.Record{Key: protocol.Text(r.Key), Value: protocol.Text(r.Value), Headers: [][2]string{}, Timestamp: &timestamp,
		Partition: &partition, Offset: r.Offset}
	for _, h := range r.Headers {
		it.Headers = append(it.Headers, [2]string{h.Key, string(h.Value)})
	}
	return it
}

func isolation(committed bool) kgo.Opt {
	if committed {
		return kgo.FetchIsolationLevel(kgo.ReadCommitted())
	}
	return kgo.FetchIsolationLevel(kgo.ReadUncommitted())
}

func (d *driver) read(a *protocol.Ask) (any, error) {
	client, err := d.client(isolation(a.Committed), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		a.Topic: {a.Partition: kgo.NewOffset().At(a.Offset)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	found := []protocol.Record{}
	until, cancel := context.WithTimeout(background, a.Wait())
	defer cancel()
	for len(found) < a.Count && until.Err() == nil {
		fetches := client.PollRecords(until, a.Count-len(found))
		if err := fetches.Err0(); err != nil && until.Err() == nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) { found = append(found, of(r)) })
	}
	return found, nil
}

// -- groups

func (d *driver) join(a *protocol.Ask) (any, error) {
	m := &member{Box: protocol.NewBox(), topic: a.Topic}
	assign := func(has bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, some map[string][]int32) { m.Assign(some[a.Topic], has) }
	}
	options := append([]kgo.Opt{kgo.ConsumerGroup(a.Group), kgo.ConsumeTopics(a.Topic), kgo.Balancers(balancers[a.Strategy]),
		kgo.SessionTimeout(a.Session()), kgo.HeartbeatInterval(300 * time.Millisecond), kgo.DisableAutoCommit(), isolation(true),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.OnPartitionsAssigned(assign(true)),
		kgo.OnPartitionsRevoked(assign(false)), kgo.OnPartitionsLost(assign(false))}, d.common...)
	var err error
	if a.Transaction != "" { // here the producer of the transactions and the reader are one client
		if m.session, err = kgo.NewGroupTransactSession(append(options, kgo.TransactionalID(a.Transaction),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
			return nil, err
		}
		m.client, d.sessions[a.Transaction] = m.session.Client(), m.session
	} else if m.client, err = kgo.NewClient(options...); err != nil {
		return nil, err
	}
	reading, stop := context.WithCancel(background)
	m.stop, d.members[a.Member] = stop, m
	go m.run(reading)
	return nil, nil
}

func (m *member) run(reading context.Context) {
	for reading.Err() == nil {
		poll := m.client.PollFetches
		if m.session != nil {
			poll = m.session.PollFetches
		}
		poll(reading).EachRecord(func(r *kgo.Record) { m.Put(of(r)) })
	}
}

func (d *driver) assigned(a *protocol.Ask) (any, error) { return d.members[a.Member].Assigned(), nil }
func (d *driver) take(a *protocol.Ask) (any, error) {
	return d.members[a.Member].Take(a.Count, a.Wait()), nil
}

func (d *driver) commit(a *protocol.Ask) (any, error) {
	m, offsets := d.members[a.Member], map[int32]kgo.EpochOffset{}
	for partition, offset := range m.Taken() {
		offsets[partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
	}
	var failed error
	m.client.CommitOffsetsSync(patience(), map[string]map[int32]kgo.EpochOffset{m.topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			failed = err
			for i := 0; err == nil && i < len(answer.Topics); i++ {
				for _, p := range answer.Topics[i].Partitions {
					failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
				}
			}
		})
	return nil, failed
}

func (d *driver) leave(a *protocol.Ask) (any, error) {
	m := d.members[a.Member]
	m.stop()
	if m.session != nil {
		m.session.Close()
	} else {
		m.client.Close()
	}
	delete(d.members, a.Member)
	return nil, nil
}

// -- transactions

func (d *driver) transactional(a *protocol.Ask) (any, error) {
	client, err := d.client(kgo.TransactionalID(a.ID), kgo.TransactionTimeout(a.Timeout()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	d.clients[a.ID] = client
	return nil, err
}

func (d *driver) begin(a *protocol.Ask) (any, error) {
	if session := d.sessions[a.ID]; session != nil {
		return nil, session.Begin()
	}
	return nil, d.clients[a.ID].BeginTransaction()
}

// A session commits what its reader polled when its transaction ends.
func (d *driver) sendOffsets(a *protocol.Ask) (any, error) { return nil, nil }

func (d *driver) end(a *protocol.Ask) (any, error) {
	if session := d.sessions[a.ID]; session != nil {
		committed, err := session.End(patience(), kgo.TransactionEndTry(a.Commit))
		if err == nil && committed != a.Commit {
			err = errors.New("the session aborted the transaction")
		}
		return nil, err
	}
	return nil, d.clients[a.ID].EndTransaction(patience(), kgo.TransactionEndTry(a.Commit))
}

func codeOf(err error) *int {
	var known *kerr.Error
	if errors.As(err, &known) {
		code := int(known.Code)
		return &code
	}
	return nil
}

func main() {
	d := &driver{members: map[string]*member{}, clients: map[string]*kgo.Client{}, sessions: map[string]*kgo.GroupTransactSession{}}
	protocol.Serve(map[string]protocol.Command{"hello": d.hello, "create": d.create, "delete": d.delete, "grow": d.grow,
		"topics": d.topics, "partitions": d.partitions, "configs": d.configs, "alter": d.alter, "trim": d.trim, "groups": d.groups,
		"group": d.group, "forget": d.forget, "committed": d.committed, "offset": d.offset, "produce": d.produce, "read": d.read,
		"join": d.join, "assigned": d.assigned, "take": d.take, "commit": d.commit, "leave": d.leave,
		"transactional": d.transactional, "begin": d.begin, "send_offsets": d.sendOffsets, "end": d.end}, codeOf)
}
