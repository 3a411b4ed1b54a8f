// driver.js - the driver of amqplib; README.md is the protocol.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
'use strict'
const fs = require('fs')
const readline = require('readline')
const amqp = require('amqplib')

let connection, channel, boxes = {}, unsettled = {}, gone = 0, returned = false, closed = null

async function open() {
  if (channel)
    return channel
  const it = channel = await connection.createConfirmChannel()
  it.on('return', () => { returned = true })
  it.on('error', e => { closed = e })
  it.on('close', () => { if (channel === it) channel = null })
  return it
}

function shown(m) {
  unsettled[m.fields.deliveryTag] = m
  return { id: m.fields.deliveryTag, body: m.content.toString(), redelivered: m.fields.redelivered, exchange: m.fields.exchange,
    key: m.fields.routingKey, headers: Object.fromEntries(Object.entries(m.properties.headers || {}).filter(([, v]) => typeof v !== 'object')) }
}

async function until(done, wait_ms) {
  for (const end = Date.now() + wait_ms; !done() && Date.now() < end;)
    await new Promise(resolve => setTimeout(resolve, 10))
}

const commands = {
  async hello({ address }) {
    connection = await amqp.connect(`amqp://guest:guest@${address}/`)
    connection.on('error', () => {})
    return 'amqplib ' + JSON.parse(fs.readFileSync(`${process.env.NODE_PATH}/amqplib/package.json`)).version
  },
  async declare({ queue, durable = false, passive = false, arguments: args }) {
    const it = await open()
    const ok = passive ? await it.checkQueue(queue) : await it.assertQueue(queue, { durable, arguments: args })
    return { queue: ok.queue, messages: ok.messageCount, consumers: ok.consumerCount }
  },
  async delete({ queue }) { await (await open()).deleteQueue(queue) },
  async exchange({ name, type, arguments: args }) { await (await open()).assertExchange(name, type, { durable: false, arguments: args }) },
  async bind({ queue, exchange, key }) { await (await open()).bindQueue(queue, exchange, key) },
  async publish({ exchange, key, body, ...options }) {
    const it = await open()
    returned = false
    const nacked = await new Promise(resolve => it.publish(exchange, key, Buffer.from(body), { persistent: true, ...options }, resolve))
    return nacked ? 'nack' : returned ? 'returned' : 'ack'
  },
  async get({ queue }) {
    const m = await (await open()).get(queue)
    return m ? shown(m) : null
  },
  async consume({ queue, prefetch, arguments: args }) {
    const it = await open()
    await it.prefetch(prefetch)
    const box = []
    gone = 0
    const { consumerTag } = await it.consume(queue, m => { if (m) box.push(shown(m)); else gone++ }, { arguments: args })
    boxes[consumerTag] = box
    return consumerTag
  },
  async take({ tag, count, wait_ms }) {
    await until(() => boxes[tag].length >= count, wait_ms)
    return boxes[tag].splice(0, count)
  },
  async settle({ id, how, multiple = false, requeue = true }) {
    if (how === 'ack')
      channel.ack(unsettled[id], multiple)
    else
      channel.nack(unsettled[id], multiple, requeue)
  },
  async cancelled({ wait_ms }) {
    await until(() => gone, wait_ms)
    return gone > 0
  },
}

async function answer({ do: command, ...asked }) {
  try {
    return { ok: (await commands[command](asked)) ?? null }
  } catch (e) {
    return { error: `${e.name}: ${e.message}`, code: e.code ?? closed?.code ?? null }
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin }))
    process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + '\n')
  process.exit(0)
}

main()
