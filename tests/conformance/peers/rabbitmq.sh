#!/bin/bash
# rabbitmq.sh start|stop|restart - one private RabbitMQ node on the loopback
# address, for proving the AMQP scenarios against the original:
#
#   tests/conformance/peers/rabbitmq.sh start
#   HAWSER_TEST_PEER=rabbitmq HAWSER_TEST_AMQP=127.0.0.1:35672 \
#   HAWSER_TEST_RESTART="tests/conformance/peers/rabbitmq.sh restart" \
#       build/venv/bin/pytest tests/conformance/amqp
#
# Its data, log and name server are its own, below build/peers.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
home=$root/build/peers/rabbitmq
port=${RABBITMQ_PORT:-35672}
mkdir -p "$home/mnesia" "$home/log"

export HOME=$home RABBITMQ_NODENAME=peer@localhost RABBITMQ_USE_LONGNAME=false
export RABBITMQ_MNESIA_BASE=$home/mnesia RABBITMQ_LOG_BASE=$home/log RABBITMQ_PID_FILE=$home/pid
export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$((port + 1))
export ERL_EPMD_PORT=$((port + 2)) ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_CONFIG_FILE=$home/rabbitmq RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
echo '[rabbitmq_consistent_hash_exchange,rabbitmq_random_exchange,rabbitmq_recent_history_exchange,rabbitmq_sharding].' > "$home/enabled_plugins"
cat > "$home/rabbitmq.conf" <<C
listeners.tcp.1 = 127.0.0.1:$port
log.file.level = warning
disk_free_limit.absolute = 50MB
C

running() { [ -f "$home/pid" ] && kill -0 "$(cat "$home/pid")" 2>/dev/null; }

start() {
	running && return
	if (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		echo "port $port is taken by somebody else; choose another with RABBITMQ_PORT" >&2
		exit 1
	fi
	# Its name server first: the node gives up when that is slow to come.
	epmd -port $ERL_EPMD_PORT -address 127.0.0.1 -daemon
	for ((i = 0; i < 100; i++)); do epmd -port $ERL_EPMD_PORT -names >/dev/null 2>&1 && break; sleep 0.1; done
	(cd "$home"; setsid /usr/lib/rabbitmq/bin/rabbitmq-server >"$home/out" 2>&1 </dev/null &)
	for ((i = 0; i < 600; i++)); do
		(echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
		sleep 0.1
	done
	echo "rabbitmq did not start; see $home/out" >&2
	exit 1
}

stop() {
	running || return 0
	local pid; pid=$(cat "$home/pid")
	kill "$pid"
	for ((i = 0; i < 600; i++)); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
	echo "rabbitmq did not stop" >&2
	exit 1
}

case ${1:-} in
start)   start;;
stop)    stop; epmd -port $ERL_EPMD_PORT -kill >/dev/null 2>&1 || true;;
restart) stop; start;;
*)       sed -n '2,9p' "$0"; exit 2;;
esac
