// The driver of amqprs; README.md, one folder up, is the protocol.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Duration;

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::*;
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;
use serde_json::{json, Map, Value};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

type Failed = amqprs::error::Error;

// What the library says unasked, in its order.
enum Said {
    Acked(bool),
    Returned,
    Cancelled,
    Closed(u16, String),
}

struct Ear(UnboundedSender<Said>);

#[async_trait]
impl ChannelCallback for Ear {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Failed> {
        let _ = self.0.send(Said::Closed(close.reply_code(), close.reply_text().to_string()));
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Failed> {
        let _ = self.0.send(Said::Cancelled);
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, _: bool) -> Result<bool, Failed> {
        Ok(true)
    }
    async fn publish_ack(&mut self, _: &Channel, _: Ack) {
        let _ = self.0.send(Said::Acked(true));
    }
    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        let _ = self.0.send(Said::Acked(false));
    }
    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {
        let _ = self.0.send(Said::Returned);
    }
}

struct Driver {
    connection: Connection,
    channel: Channel,
    ear: UnboundedReceiver<Said>,
    boxes: HashMap<String, UnboundedReceiver<ConsumerMessage>>,
}

fn text<'a>(asked: &'a Value, name: &str) -> &'a str {
    asked[name].as_str().unwrap_or("")
}

fn flag(asked: &Value, name: &str, otherwise: bool) -> bool {
    asked[name].as_bool().unwrap_or(otherwise)
}

fn number(asked: &Value, name: &str) -> u64 {
    asked[name].as_u64().unwrap_or(0)
}

fn wait(asked: &Value) -> Duration {
    Duration::from_millis(number(asked, "wait_ms"))
}

fn table(from: &Value) -> FieldTable {
    let mut to = FieldTable::new();
    for (name, value) in from.as_object().unwrap_or(&Map::new()) {
        let value = match value {
            Value::Bool(b) => FieldValue::t(*b),
            Value::Number(n) => FieldValue::l(n.as_i64().unwrap()),
            other => FieldValue::S(other.as_str().unwrap().try_into().unwrap()),
        };
        to.insert(name.as_str().try_into().unwrap(), value);
    }
    to
}

fn shown_headers(p: &BasicProperties) -> Value {
    let mut shown = Map::new();
    for (name, value) in p.headers().iter().flat_map(|t| t.as_ref().iter()) {
        let value = match value {
            FieldValue::t(b) => json!(b),
            FieldValue::I(n) => json!(n),
            FieldValue::l(n) => json!(n),
            FieldValue::S(s) => json!(s.to_string()),
            _ => continue,
        };
        shown.insert(name.to_string(), value);
    }
    Value::Object(shown)
}

fn shown(tag: u64, body: &[u8], redelivered: bool, exchange: &str, key: &str, p: &BasicProperties) -> Value {
    json!({"id": tag, "body": String::from_utf8_lossy(body), "redelivered": redelivered, "exchange": exchange, "key": key,
           "headers": shown_headers(p)})
}

fn shown_delivery(m: ConsumerMessage) -> Value {
    let d = m.deliver.unwrap();
    shown(d.delivery_tag(), &m.content.unwrap(), d.redelivered(), d.exchange(), d.routing_key(), &m.basic_properties.unwrap())
}

async fn open(connection: &Connection) -> Result<(Channel, UnboundedReceiver<Said>), Failed> {
    let (mouth, ear) = unbounded_channel();
    let channel = connection.open_channel(None).await?;
    channel.register_callback(Ear(mouth)).await?;
    channel.confirm_select(ConfirmSelectArguments::default()).await?;
    Ok((channel, ear))
}

impl Driver {
    async fn connect(address: &str) -> Result<Driver, Failed> {
        let (host, port) = address.rsplit_once(':').unwrap();
        let connection = Connection::open(&OpenConnectionArguments::new(host, port.parse().unwrap(), "guest", "guest")).await?;
        let (channel, ear) = open(&connection).await?;
        Ok(Driver { connection, channel, ear, boxes: HashMap::new() })
    }

    async fn publish(&mut self, a: &Value) -> Result<Value, Failed> {
        let mut p = BasicProperties::default();
        p.with_persistence(true).with_headers(table(&a["headers"])).with_priority(number(a, "priority") as u8);
        if a["expiration"].is_string() {
            p.with_expiration(text(a, "expiration"));
        }
        let to = BasicPublishArguments::new(text(a, "exchange"), text(a, "key")).mandatory(flag(a, "mandatory", false)).finish();
        self.channel.basic_publish(p, text(a, "body").as_bytes().to_vec(), to).await?;
        let mut outcome = "ack";
        loop {
            match timeout(PATIENCE, self.ear.recv()).await {
                Ok(Some(Said::Returned)) => outcome = "returned",
                Ok(Some(Said::Acked(true))) => return Ok(json!(outcome)),
                Ok(Some(Said::Acked(false))) => return Ok(json!("nack")),
                Ok(Some(Said::Cancelled)) => (),
                _ => return Err(Failed::ChannelUseError("no confirm".to_string())),
            }
        }
    }

    async fn take(&mut self, a: &Value) -> Value {
        let (inbox, mut taken) = (self.boxes.get_mut(text(a, "tag")).unwrap(), vec![]);
        let end = tokio::time::Instant::now() + wait(a);
        while taken.len() < number(a, "count") as usize {
            match tokio::time::timeout_at(end, inbox.recv()).await {
                Ok(Some(m)) => taken.push(shown_delivery(m)),
                _ => break,
            }
        }
        json!(taken)
    }

    async fn consume(&mut self, a: &Value) -> Result<Value, Failed> {
        self.channel.basic_qos(BasicQosArguments::new(0, number(a, "prefetch") as u16, false)).await?;
        while self.ear.try_recv().is_ok() {}
        let tag = format!("consumer-{}", self.boxes.len());
        let to = BasicConsumeArguments::new(text(a, "queue"), &tag).arguments(table(&a["arguments"])).finish();
        let (tag, inbox) = self.channel.basic_consume_rx(to).await?;
        self.boxes.insert(tag.clone(), inbox);
        Ok(json!(tag))
    }

    async fn cancelled(&mut self, a: &Value) -> Value {
        let end = tokio::time::Instant::now() + wait(a);
        loop {
            match tokio::time::timeout_at(end, self.ear.recv()).await {
                Ok(Some(Said::Cancelled)) => return json!(true),
                Ok(Some(_)) => (),
                _ => return json!(false),
            }
        }
    }

    async fn carry_out(&mut self, a: &Value) -> Result<Value, Failed> {
        if !self.channel.is_open() {
            (self.channel, self.ear) = open(&self.connection).await?;
        }
        let it = &self.channel;
        match text(a, "do") {
            "declare" => {
                let mut to = QueueDeclareArguments::new(text(a, "queue"));
                to.passive(flag(a, "passive", false)).durable(flag(a, "durable", false)).arguments(table(&a["arguments"]));
                let (name, messages, consumers) = it.queue_declare(to).await?.unwrap();
                return Ok(json!({"queue": name, "messages": messages, "consumers": consumers}));
            }
            "delete" => {
                it.queue_delete(QueueDeleteArguments::new(text(a, "queue"))).await?;
            }
            "exchange" => {
                let to = ExchangeDeclareArguments::new(text(a, "name"), text(a, "type")).arguments(table(&a["arguments"])).finish();
                it.exchange_declare(to).await?;
            }
            "bind" => it.queue_bind(QueueBindArguments::new(text(a, "queue"), text(a, "exchange"), text(a, "key"))).await?,
            "publish" => return self.publish(a).await,
            "get" => {
                return Ok(it.basic_get(BasicGetArguments::new(text(a, "queue"))).await?.map_or(Value::Null, |(got, p, body)| {
                    shown(got.delivery_tag(), &body, got.redelivered(), got.exchange(), got.routing_key(), &p)
                }))
            }
            "consume" => return self.consume(a).await,
            "take" => return Ok(self.take(a).await),
            "settle" if text(a, "how") == "ack" => {
                it.basic_ack(BasicAckArguments::new(number(a, "id"), flag(a, "multiple", false))).await?
            }
            "settle" => {
                let to = BasicNackArguments::new(number(a, "id"), flag(a, "multiple", false), flag(a, "requeue", true));
                it.basic_nack(to).await?
            }
            "cancelled" => return Ok(self.cancelled(a).await),
            other => panic!("unknown command {}", other),
        }
        Ok(Value::Null)
    }

    // The library tells the reason of a closed channel to its callback only.
    async fn answer(&mut self, a: &Value) -> Value {
        let failed = match self.carry_out(a).await {
            Ok(value) => return json!({"ok": value}),
            Err(e) => e,
        };
        loop {
            match timeout(PATIENCE, self.ear.recv()).await {
                Ok(Some(Said::Closed(code, reason))) => {
                    while self.channel.is_open() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    return json!({"error": reason, "code": code});
                }
                Ok(Some(_)) => (),
                _ => return json!({"error": failed.to_string(), "code": null}),
            }
        }
    }
}

// Lines are read in a thread of their own: meanwhile the library's tasks go on.
fn lines() -> UnboundedReceiver<String> {
    let (to, from) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let _ = to.send(line.unwrap());
        }
    });
    from
}

async fn run() {
    let (mut lines, mut driver) = (lines(), None);
    while let Some(line) = lines.recv().await {
        let asked: Value = serde_json::from_str(&line).unwrap();
        let said = if asked["do"] == "hello" {
            driver = Some(Driver::connect(text(&asked, "address")).await.expect("connect"));
            json!({"ok": concat!("amqprs ", "2.1.5")})
        } else {
            driver.as_mut().unwrap().answer(&asked).await
        };
        println!("{}", said);
        std::io::stdout().flush().unwrap();
    }
}

fn main() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run());
    std::process::exit(0);
}
