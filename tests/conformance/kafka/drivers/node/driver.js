// driver.js - the driver of KafkaJS.  Its codecs for Snappy, LZ4 and Zstandard are packages that its users add.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
'use strict'
const readline = require('readline')
const { Kafka, logLevel, CompressionTypes, CompressionCodecs, PartitionAssigners, ConfigResourceTypes } = require('kafkajs')
const lz4 = require('lz4js')
const zstd = require('@bokuweb/zstd-wasm')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

class Cannot extends Error {}

const CODECS = { gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }
const sleep = ms => new Promise(done => setTimeout(done, ms))
const text = octets => octets === null ? null : octets.toString()

let kafka, admin
const members = {}, writers = {}, transactions = {}

function record(partition, m) {
  const headers = []
  for (const [name, value] of Object.entries(m.headers || {}))
    for (const one of [].concat(value))
      headers.push([name, text(one)])
  return { key: text(m.key), value: text(m.value), timestamp: Number(m.timestamp), offset: Number(m.offset), partition, headers }
}

async function send(producer, asked) {
  const messages = asked.records.map(r => ({
    key: r.key, value: r.value, partition: r.partition,
    timestamp: r.timestamp === undefined ? undefined : String(r.timestamp),
    headers: Object.fromEntries(r.headers || []),
  }))
  const answers = await producer.send({ topic: asked.topic, messages, acks: asked.acks, compression: CODECS[asked.codec] })
  // It tells the first offset of each partition; without acks nothing.
  const next = {}
  for (const one of answers || [])
    next[one.partition] = Number(one.baseOffset)
  const only = Object.keys(next)
  return asked.records.map(r => {
    const partition = r.partition === undefined && only.length === 1 ? Number(only[0]) : r.partition
    return partition === undefined ? null : [partition, partition in next ? next[partition]++ : -1]
  })
}

const commands = {
  async hello({ address, client_id }) {
    kafka = new Kafka({ brokers: [address], clientId: client_id, logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 5 } })
    admin = kafka.admin()
    await zstd.init()
    await admin.connect()
    return 'KafkaJS ' + require('kafkajs/package.json').version
  },

  // -- administration

  async create({ topic, partitions = 1, configs = {} }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const created = await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] })
    if (!created)                       // that is how it says it
      throw Object.assign(new Error('the topic exists'), { code: 36 })
  },
  async delete({ topic }) { await admin.deleteTopics({ topics: [topic] }) },
  async grow({ topic, partitions }) { await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }] }) },
  async topics() { return admin.listTopics() },
  async partitions({ topic }) { return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length },
  async configs({ topic }) {
    const answer = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }], includeSynonyms: false })
    return Object.fromEntries(answer.resources[0].configEntries.map(e => [e.configName, e.configValue]))
  },
  async alter({ topic, name, value }) {
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name, value }] }] })
  },
  async trim({ topic, partition, before }) {
    await admin.fetchTopicOffsets(topic)                // it looks for the leader only among topics that it has met
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
  },
  async groups() { return (await admin.listGroups()).groups.map(g => g.groupId) },
  async group({ group }) {
    const it = (await admin.describeGroups([group])).groups[0]
    return { state: it.state, members: it.members.length }
  },
  async forget({ group }) { await admin.deleteGroups([group]) },
  async committed({ group, topic, partition }) {
    const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return Number(found.partitions.find(p => p.partition === partition).offset)
  },

  // -- records

  async offset({ topic, partition, at }) {
    const found = typeof at === 'number' ? await admin.fetchTopicOffsetsByTimestamp(topic, at) : await admin.fetchTopicOffsets(topic)
    const it = found.find(p => p.partition === partition)
    return Number(at === 'earliest' ? it.low : it.offset)
  },

  async produce(asked) {
    if (asked.transaction)
      return send(transactions[asked.transaction], asked)
    if (asked.records.some(r => r.partition === undefined) && asked.acks !== 0)
      throw new Cannot('it does not tell where it put a record')
    const kind = asked.idempotent ? 'idempotent' : 'plain'
    if (!writers[kind]) {
      writers[kind] = kafka.producer({ idempotent: !!asked.idempotent, allowAutoTopicCreation: false, metadataMaxAge: 1000 })
      await writers[kind].connect()
    }
    return send(writers[kind], asked)
  },

  // It reads in groups only: this one is of nobody else, and begins where it is told.
  async read({ topic, partition, offset, count, wait_ms = 10000, committed = false }) {
    const found = []
    const consumer = kafka.consumer({ groupId: 'read-' + Math.random(), readUncommitted: !committed, maxWaitTimeInMs: 100 })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition: p, message }) => {
        if (p === partition && Number(message.offset) >= offset)
          found.push(record(p, message))
      },
    })
    consumer.seek({ topic, partition, offset: String(offset) })
    for (const end = Date.now() + wait_ms; found.length < count && Date.now() < end;)
      await sleep(10)
    await consumer.disconnect()
    return found.slice(0, count)
  },

  // -- groups

  async join({ member, group, topic, strategy = 'roundrobin', session_ms = 6000 }) {
    if (strategy !== 'roundrobin')
      throw new Cannot('it has no such assigner')
    const it = members[member] = { box: [], assigned: [], taken: {}, group, topic }
    it.consumer = kafka.consumer({
      groupId: group, sessionTimeout: session_ms, heartbeatInterval: 300, metadataMaxAge: 1000, maxWaitTimeInMs: 100,
      partitionAssigners: [PartitionAssigners.roundRobin], readUncommitted: false,
    })
    it.consumer.on(it.consumer.events.GROUP_JOIN, e => { it.assigned = (e.payload.memberAssignment[topic] || []).sort() })
    await it.consumer.connect()
    await it.consumer.subscribe({ topic, fromBeginning: true })
    await it.consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => { it.box.push(record(partition, message)) } })
  },
  async assigned({ member }) { return members[member].assigned },
  async take({ member, count, wait_ms = 10000 }) {
    const it = members[member]
    for (const end = Date.now() + wait_ms; it.box.length < count && Date.now() < end;)
      await sleep(10)
    const taken = it.box.splice(0, count)
    for (const r of taken)
      it.taken[r.partition] = r.offset + 1
    return taken
  },
  async commit({ member }) { await members[member].consumer.commitOffsets(offsets(members[member])) },
  async leave({ member }) {
    await members[member].consumer.disconnect()
    delete members[member]
  },

  // -- transactions

  async transactional({ id, timeout_ms = 60000 }) {
    writers[id] = kafka.producer({ transactionalId: id, transactionTimeout: timeout_ms, idempotent: true, maxInFlightRequests: 1 })
    await writers[id].connect()
  },
  async begin({ id }) { transactions[id] = await writers[id].transaction() },
  async send_offsets({ id, member }) {
    const it = members[member]
    const partitions = offsets(it).map(({ partition, offset }) => ({ partition, offset }))
    await transactions[id].sendOffsets({ consumerGroupId: it.group, topics: [{ topic: it.topic, partitions }] })
  },
  async end({ id, commit }) { await (commit ? transactions[id].commit() : transactions[id].abort()) },
}

function offsets(it) {
  return Object.entries(it.taken).map(([partition, offset]) => ({ topic: it.topic, partition: Number(partition), offset: String(offset) }))
}

// The number is in the error, in what caused it, or in one of several.
function codeOf(e) {
  for (let it = e; it; it = it.cause || (it.errors && it.errors[0]))
    if (typeof it.code === 'number')
      return it.code
  return null
}

async function answer({ do: command, ...asked }) {
  if (!commands[command])
    return { cannot: 'the library has no such call' }
  try {
    return { ok: (await commands[command](asked)) ?? null }
  } catch (e) {
    return e instanceof Cannot ? { cannot: e.message } : { error: `${e.name}: ${e.message}`, code: codeOf(e) }
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin }))
    process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + '\n')
  process.exit(0)
}

main()
