# The fixtures of the AMQP scenarios.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import time

import pika
import pika.exceptions
import pytest

from amqp_raw import Raw


def parameters(address, **more):
    host, port = address.rsplit(":", 1)
    more.setdefault("blocked_connection_timeout", 20)
    return pika.ConnectionParameters(host, int(port), **more)


class Amqp:
    """Connections and channels that end with the test."""

    def __init__(self, server):
        self.server = server
        self.connections = []

    def connection(self, **more):
        connection = pika.BlockingConnection(parameters(self.server.amqp, **more))
        self.connections.append(connection)
        return connection

    def channel(self, **more):
        return self.connection(**more).channel()

    def raw(self, timeout_s=10):
        raw = Raw(self.server.amqp, timeout_s)
        self.connections.append(raw)
        return raw

    def die(self, connection):
        """End it as a crash does: no close, just a dead socket."""
        connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)

    def restart(self, **how):
        self.close()
        self.server.restart(**how)

    def close(self):
        for connection in self.connections:
            with contextlib.suppress(Exception):
                connection.close()
        self.connections = []


@pytest.fixture
def amqp(server):
    it = Amqp(server)
    yield it
    it.close()


@pytest.fixture
def channel(amqp):
    return amqp.channel()


class Inbox:
    """What a consumer was given, in order: (method, properties, body)."""

    def __init__(self, channel, queue, **more):
        self.channel = channel
        self.got = []
        self.tag = channel.basic_consume(queue, lambda ch, method, properties, body:
                                         self.got.append((method, properties, body)), **more)

    def wait(self, count, timeout_s=10):
        end = time.monotonic() + timeout_s
        while len(self.got) < count and time.monotonic() < end:
            self.channel.connection.process_data_events(time_limit=0.05)
        assert len(self.got) >= count, "%d deliveries within %d s, expected %d: %r" % (
            len(self.got), timeout_s, count, self.bodies())
        return self.got

    def nothing_more(self):
        """A round trip through the broker: what was on its way has arrived."""
        for _ in range(2):
            self.channel.exchange_declare("amq.direct", passive=True)
            self.channel.connection.process_data_events(time_limit=0.1)

    def bodies(self):
        return [body for _, _, body in self.got]


@pytest.fixture
def inbox():
    return Inbox


class Closed:
    """Filled in by refused(): what the server said when it closed."""
    code = None
    text = None


@contextlib.contextmanager
def _refused(kind, code, text=None):
    closed = Closed()
    with pytest.raises(kind) as caught:
        yield closed
    closed.code, closed.text = caught.value.reply_code, caught.value.reply_text
    assert closed.code == code, "%s %s" % (closed.code, closed.text)
    if text is not None:
        assert closed.text == text


@pytest.fixture
def channel_refused():
    """with channel_refused(404, "NOT_FOUND - ..."): the channel is closed with just that."""
    return lambda code, text=None: _refused(pika.exceptions.ChannelClosedByBroker, code, text)


@pytest.fixture
def connection_refused():
    """with connection_refused(530, ...): the whole connection is closed with just that."""
    return lambda code, text=None: _refused(pika.exceptions.ConnectionClosedByBroker, code, text)
