// The driver of rskafka, which has topics and records, and neither groups nor transactions.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use serde_json::{json, Value};

enum Failed {
    Cannot(&'static str),
    Refused(Error),
}

impl From<Error> for Failed {
    fn from(e: Error) -> Self {
        Failed::Refused(e)
    }
}

type Answer = Result<Value, Failed>;

fn text<'a>(asked: &'a Value, name: &str) -> &'a str {
    asked[name].as_str().unwrap_or("")
}

fn number(asked: &Value, name: &str, otherwise: i64) -> i64 {
    asked[name].as_i64().unwrap_or(otherwise)
}

fn octets(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|s| s.as_bytes().to_vec())
}

fn shown(octets: &Option<Vec<u8>>) -> Value {
    octets.as_ref().map_or(Value::Null, |b| json!(String::from_utf8_lossy(b)))
}

async fn partition(client: &Client, asked: &Value) -> Result<PartitionClient, Error> {
    client
        .partition_client(text(asked, "topic"), number(asked, "partition", 0) as i32, UnknownTopicHandling::Retry)
        .await
}

fn record_of(r: &Value) -> Record {
    let timestamp = r["timestamp"].as_i64().map_or_else(Utc::now, |ms| DateTime::from_timestamp_millis(ms).unwrap());
    let mut headers = BTreeMap::new();
    for pair in r["headers"].as_array().unwrap_or(&vec![]) {
        headers.insert(pair[0].as_str().unwrap().to_string(), octets(&pair[1]).unwrap_or_default());
    }
    Record { key: octets(&r["key"]), value: octets(&r["value"]), headers, timestamp }
}

fn shown_record(partition: i64, it: &RecordAndOffset) -> Value {
    let headers: Vec<Value> = it.record.headers.iter().map(|(name, b)| json!([name, String::from_utf8_lossy(b)])).collect();
    json!({"key": shown(&it.record.key), "value": shown(&it.record.value), "headers": headers,
           "timestamp": it.record.timestamp.timestamp_millis(), "partition": partition, "offset": it.offset})
}

async fn produce(client: &Client, asked: &Value) -> Answer {
    let records = asked["records"].as_array().unwrap();
    if asked["idempotent"] == true {
        return Err(Failed::Cannot("it has no idempotent producer"));
    }
    if !(asked["acks"].is_null() || asked["acks"] == -1) {
        return Err(Failed::Cannot("it asks for all acks, always"));
    }
    if records.iter().any(|r| r["partition"].is_null()) {
        return Err(Failed::Cannot("it has no partitioner"));
    }
    let compression = match text(asked, "codec") {
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Compression::NoCompression,
    };
    let mut placed = vec![Value::Null; records.len()];
    let homes: std::collections::BTreeSet<i64> = records.iter().map(|r| r["partition"].as_i64().unwrap()).collect();
    for home in homes {
        let mine: Vec<usize> = (0..records.len()).filter(|&i| records[i]["partition"] == home).collect();
        let there = client.partition_client(text(asked, "topic"), home as i32, UnknownTopicHandling::Retry).await?;
        let done = there.produce(mine.iter().map(|&i| record_of(&records[i])).collect(), compression).await?;
        for (&i, offset) in mine.iter().zip(done) {
            placed[i] = json!([home, offset]);
        }
    }
    Ok(json!(placed))
}

async fn read(client: &Client, asked: &Value) -> Answer {
    if asked["committed"] == true {
        return Err(Failed::Cannot("it does not know read_committed"));
    }
    let there = partition(client, asked).await?;
    let count = number(asked, "count", 1) as usize;
    let end = Instant::now() + Duration::from_millis(number(asked, "wait_ms", 10000) as u64);
    let (mut found, mut next) = (vec![], number(asked, "offset", 0));
    while found.len() < count && Instant::now() < end {
        let (records, _) = there.fetch_records(next, 1..10_000_000, 100).await?;
        for it in records.iter().filter(|it| it.offset >= next) {
            found.push(shown_record(number(asked, "partition", 0), it));
        }
        next = records.last().map_or(next, |it| it.offset + 1);
    }
    found.truncate(count);
    Ok(json!(found))
}

async fn offset(client: &Client, asked: &Value) -> Answer {
    let at = match (asked["at"].as_i64(), text(asked, "at")) {
        (Some(ms), _) => OffsetAt::Timestamp(DateTime::from_timestamp_millis(ms).unwrap()),
        (_, "earliest") => OffsetAt::Earliest,
        _ => OffsetAt::Latest,
    };
    Ok(json!(partition(client, asked).await?.get_offset(at).await?))
}

async fn answer(client: &Client, asked: &Value) -> Answer {
    let topic = text(asked, "topic");
    match text(asked, "do") {
        "create" => {
            if asked["configs"].is_object() {
                return Err(Failed::Cannot("it creates topics without settings"));
            }
            let partitions = number(asked, "partitions", 1) as i32;
            client.controller_client()?.create_topic(topic, partitions, 1, 5000).await?;
            Ok(Value::Null)
        }
        "delete" => {
            client.controller_client()?.delete_topic(topic, 5000).await?;
            Ok(Value::Null)
        }
        "topics" => Ok(json!(client.list_topics().await?.iter().map(|t| t.name.clone()).collect::<Vec<_>>())),
        "partitions" => {
            let all = client.list_topics().await?;
            Ok(json!(all.iter().find(|t| t.name == topic).map_or(0, |t| t.partitions.len())))
        }
        "trim" => {
            partition(client, asked).await?.delete_records(number(asked, "before", 0), 5000).await?;
            Ok(Value::Null)
        }
        "produce" => produce(client, asked).await,
        "read" => read(client, asked).await,
        "offset" => offset(client, asked).await,
        _ => Err(Failed::Cannot("the library has no such call")),
    }
}

// The library makes a name of a number, and does not say the number again.
fn code_of(e: &Error) -> Value {
    match e {
        Error::ServerError { protocol_error, .. } => json!((-1..200).find(|&code| ProtocolError::new(code).as_ref() == Some(protocol_error))),
        _ => Value::Null,
    }
}

async fn run() {
    let mut client: Option<Arc<Client>> = None;
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if asked["do"] == "hello" {
            let builder = ClientBuilder::new(vec![text(&asked, "address").to_string()]).client_id(text(&asked, "client_id"));
            client = Some(Arc::new(builder.build().await.expect("connect")));
            println!("{}", json!({"ok": concat!("rskafka ", "0.6.0")}));
            continue;
        }
        let said = match answer(client.as_ref().unwrap(), &asked).await {
            Ok(value) => json!({"ok": value}),
            Err(Failed::Cannot(why)) => json!({"cannot": why}),
            Err(Failed::Refused(e)) => json!({"error": e.to_string(), "code": code_of(&e)}),
        };
        println!("{}", said);
        std::io::stdout().flush().unwrap();
    }
}

fn main() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run());
}
