#!/bin/bash
# kafka.sh start|stop|restart - one private Apache Kafka node (KRaft) on the
# loopback address, from the jars of Maven Central named in kafka/pom.xml:
#
#   tests/conformance/peers/kafka.sh start
#   HAWSER_TEST_PEER=kafka HAWSER_TEST_KAFKA=127.0.0.1:39092 \
#   HAWSER_TEST_RESTART="tests/conformance/peers/kafka.sh restart" \
#       build/venv/bin/pytest tests/conformance/kafka
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
home=$root/build/peers/kafka
port=${KAFKA_PORT:-39092}
mkdir -p "$home"

running() { [ -f "$home/pid" ] && kill -0 "$(cat "$home/pid")" 2>/dev/null; }

prepare() {
	[ -f "$home/classpath" ] && [ "$home/classpath" -nt "$here/kafka/pom.xml" ] ||
		mvn -q -B -f "$here/kafka/pom.xml" dependency:build-classpath -Dmdep.outputFile="$home/classpath"
	cat > "$home/server.properties" <<C
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$home/data
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.partitions=1
auto.create.topics.enable=true
log.segment.bytes=16777216
C
	cat > "$home/log4j2.properties" <<C
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
C
}

java_() { java -Xmx512m -Dlog4j2.configurationFile="$home/log4j2.properties" -cp "$(cat "$home/classpath")" "$@"; }

start() {
	running && return
	if (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		echo "port $port is taken by somebody else; choose another with KAFKA_PORT" >&2
		exit 1
	fi
	prepare
	[ -d "$home/data" ] || java_ kafka.tools.StorageTool format --standalone \
		-t "$(java_ kafka.tools.StorageTool random-uuid)" -c "$home/server.properties" >"$home/format.log" 2>&1
	(setsid java -Xmx512m -Dlog4j2.configurationFile="$home/log4j2.properties" -cp "$(cat "$home/classpath")" \
		kafka.Kafka "$home/server.properties" >"$home/out" 2>&1 </dev/null & echo $! >"$home/pid")
	for ((i = 0; i < 900; i++)); do
		running || break
		(echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
		sleep 0.1
	done
	echo "kafka did not start; see $home/out" >&2
	exit 1
}

stop() {
	running || return 0
	local pid; pid=$(cat "$home/pid")
	kill "$pid"
	for ((i = 0; i < 600; i++)); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
	kill -9 "$pid"
}

case ${1:-} in
start)   start;;
stop)    stop;;
restart) stop; start;;
*)       sed -n '2,8p' "$0"; exit 2;;
esac
