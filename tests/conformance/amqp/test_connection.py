# How a connection begins, lives and ends, and how the broker refuses one.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import time

import pika
import pika.exceptions
import pytest
from pika import frame, spec

from amqp_raw import HEADER, amqplain, plain

CLIENT = "pika " + pika.__version__
CHAPTER = "Connections and channels"


def test_the_broker_names_the_capabilities_that_clients_look_for(amqp):
    raw = amqp.raw()
    start = raw.start()
    assert (start.version_major, start.version_minor) == (0, 9)
    assert b"en_US" in start.locales
    capabilities = start.server_properties["capabilities"]
    for name in ("publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
                 "connection.blocked", "consumer_priorities", "authentication_failure_close",
                 "per_consumer_qos", "direct_reply_to"):
        assert capabilities.get(name) is True, name


def test_the_broker_offers_PLAIN_and_AMQPLAIN(amqp):
    mechanisms = amqp.raw().start().mechanisms.split()
    assert b"PLAIN" in mechanisms and b"AMQPLAIN" in mechanisms


def test_the_limits_offered_are_RabbitMQs(amqp):
    tune = amqp.raw().open()
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


def test_guest_logs_in_with_PLAIN(amqp):
    assert amqp.connection(credentials=pika.PlainCredentials("guest", "guest")).is_open


def test_guest_logs_in_with_AMQPLAIN(amqp):
    amqp.raw().open(mechanism="AMQPLAIN", response=amqplain("guest", "guest"))


def test_a_wrong_password_is_403_with_RabbitMQs_words(amqp):
    raw = amqp.raw()
    raw.login(response=plain("guest", "wrong"))
    close = raw.expect(spec.Connection.Close)
    assert close.reply_code == 403
    assert close.reply_text == ("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                                "For details see the broker logfile.")


def test_a_wrong_password_with_AMQPLAIN_is_403(amqp):
    raw = amqp.raw()
    raw.login(mechanism="AMQPLAIN", response=amqplain("guest", "wrong"))
    assert raw.expect(spec.Connection.Close).reply_code == 403


def test_an_unknown_user_is_told_nothing_else_than_a_wrong_password(amqp):
    raw = amqp.raw()
    raw.login(response=plain("nobody", "guest"))
    close = raw.expect(spec.Connection.Close)
    assert close.reply_text == ("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                                "For details see the broker logfile.")


def test_the_library_understands_a_wrong_password(amqp):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        amqp.connection(credentials=pika.PlainCredentials("guest", "wrong"))


def test_an_unknown_virtual_host_is_530(amqp):
    raw = amqp.raw()
    raw.login()
    raw.expect(spec.Connection.Tune)
    raw.method(0, spec.Connection.TuneOk(2047, 131072, 0))
    raw.method(0, spec.Connection.Open("nowhere"))
    close = raw.expect(spec.Connection.Close)
    assert (close.reply_code, close.reply_text) == (530, "NOT_ALLOWED - vhost nowhere not found")
    assert (close.class_id, close.method_id) == (10, 40)


def test_an_unknown_mechanism_is_refused(amqp):
    raw = amqp.raw()
    raw.login(mechanism="NONSENSE")
    close = raw.read()
    assert close is None or close.method.reply_code == 503


def test_another_AMQP_version_is_answered_with_0_9_1(amqp):
    raw = amqp.raw()
    raw.send(b"AMQP\x00\x00\x09\x02")
    assert raw.read_header() == HEADER
    assert raw.at_end()


def test_something_that_is_not_AMQP_is_hung_up_on(amqp):
    raw = amqp.raw()
    raw.send(b"HELO mail.example.com\r\n")
    assert raw.read_header()[:4] in (b"AMQP", b"")
    assert raw.at_end()


def test_a_frame_limit_of_4096_is_accepted_and_kept(amqp, fresh):
    """Old amqplib asks for 4096; RabbitMQ 4.1 refused it and broke them."""
    queue = fresh()
    connection = amqp.connection(frame_max=4096)
    channel = connection.channel()
    channel.queue_declare(queue, exclusive=True)
    body = bytes(range(256)) * 100
    channel.basic_publish("", queue, body)
    assert channel.basic_get(queue, auto_ack=True)[2] == body


@pytest.mark.parametrize("asked, text", [
    (262144, "NOT_ALLOWED - negotiated frame_max = 262144 is higher than the maximum allowed value (131072)"),
    (1024, "NOT_ALLOWED - negotiated frame_max = 1024 is lower than the minimum allowed value (4096)"),
], ids=["above the offer", "below 4096"])
def test_a_frame_limit_outside_the_bounds_is_refused(amqp, asked, text):
    """RabbitMQ only logs this text, and hangs up; whoever says it may say nothing else."""
    raw = amqp.raw()
    raw.login()
    raw.expect(spec.Connection.Tune)
    raw.method(0, spec.Connection.TuneOk(2047, asked, 0))
    close = raw.read()
    assert close is None or (close.method.reply_code, close.method.reply_text) == (530, text)


def test_the_broker_sends_heartbeats(amqp):
    raw = amqp.raw(timeout_s=5)
    raw.open(heartbeat=1)
    assert isinstance(raw.read(), frame.Heartbeat)


def test_a_silent_client_is_dropped_after_its_heartbeats_are_missed(amqp):
    raw = amqp.raw(timeout_s=10)
    raw.open(heartbeat=1)
    began = time.monotonic()
    assert raw.at_end()
    assert 1.0 <= time.monotonic() - began <= 6.0


def test_a_client_that_only_sends_heartbeats_stays(amqp):
    connection = amqp.connection(heartbeat=1)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        connection.process_data_events(time_limit=0.1)
    connection.channel()
    assert connection.is_open


def test_without_heartbeats_nobody_is_dropped(amqp):
    raw = amqp.raw(timeout_s=3)
    raw.open(heartbeat=0)
    assert not raw.at_end()


def test_a_method_before_the_channel_is_open_is_504(amqp):
    raw = amqp.raw()
    raw.open()
    raw.method(1, spec.Queue.Declare(queue="q"))
    close = raw.expect(spec.Connection.Close)
    assert (close.reply_code, close.reply_text) == (504, "CHANNEL_ERROR - expected 'channel.open'")


def test_opening_a_channel_twice_is_504(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel(1)
    raw.method(1, spec.Channel.Open())
    close = raw.expect(spec.Connection.Close)
    assert (close.reply_code, close.reply_text) == (504, "CHANNEL_ERROR - second 'channel.open' seen")


def test_a_frame_with_a_wrong_end_is_501(amqp):
    raw = amqp.raw()
    raw.open()
    raw.frame(8, 0, end=b"\x00")
    got = raw.read()
    assert got is None or got.method.reply_code == 501


def test_a_frame_of_an_unknown_type_is_501(amqp):
    raw = amqp.raw()
    raw.open()
    raw.frame(77, 0)
    close = raw.expect(spec.Connection.Close)
    assert close.reply_code == 501


def test_a_frame_larger_than_agreed_is_501(amqp):
    raw = amqp.raw()
    raw.open(frame_max=4096)
    raw.channel(1)
    raw.method(1, spec.Basic.Publish(routing_key="x"))
    raw.frame(3, 1, b"x" * 5000)
    got = raw.read()
    assert got is None or got.method.reply_code == 501


def test_a_body_without_its_header_is_505(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel(1)
    raw.method(1, spec.Basic.Publish(routing_key="x"))
    raw.frame(3, 1, b"body")
    close = raw.expect(spec.Connection.Close)
    assert close.reply_code == 505


def test_a_method_between_the_pieces_of_a_message_is_505(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel(1)
    raw.method(1, spec.Basic.Publish(routing_key="x"))
    raw.method(1, spec.Queue.Declare(queue="q"))
    close = raw.expect(spec.Connection.Close)
    assert close.reply_code == 505


def test_a_channel_error_leaves_the_other_channels_alone(amqp, fresh, channel_refused):
    connection = amqp.connection()
    one, other = connection.channel(), connection.channel()
    with channel_refused(404):
        one.queue_declare(fresh("missing"), passive=True)
    assert one.is_closed and other.is_open
    assert other.queue_declare("", exclusive=True).method.queue


def test_a_channel_number_can_be_used_again_after_an_error(amqp, fresh, channel_refused):
    connection = amqp.connection()
    channel = connection.channel(7)
    with channel_refused(404):
        channel.queue_declare(fresh("missing"), passive=True)
    again = connection.channel(7)
    assert again.queue_declare("", exclusive=True).method.queue


def test_a_close_names_the_method_that_failed(amqp, fresh):
    raw = amqp.raw()
    raw.open()
    raw.channel(1)
    raw.method(1, spec.Queue.Declare(queue=fresh("missing"), passive=True))
    close = raw.expect(spec.Channel.Close)
    assert (close.class_id, close.method_id) == (50, 10)


def test_frames_on_a_closing_channel_are_ignored_and_a_crossing_close_is_answered(amqp, fresh):
    raw = amqp.raw()
    raw.open()
    raw.channel(1)
    raw.method(1, spec.Queue.Declare(queue=fresh("missing"), passive=True))
    raw.expect(spec.Channel.Close)
    raw.content(1, spec.Basic.Publish(routing_key="nobody"), spec.BasicProperties(), b"late")
    raw.method(1, spec.Channel.Close(200, "bye", 0, 0))
    raw.expect(spec.Channel.CloseOk)
    raw.method(1, spec.Channel.CloseOk())
    raw.channel(1)


def test_closing_a_connection_is_answered(amqp):
    raw = amqp.raw()
    raw.open()
    raw.method(0, spec.Connection.Close(200, "bye", 0, 0))
    raw.expect(spec.Connection.CloseOk)


def test_many_channels_share_a_connection(amqp, fresh):
    connection = amqp.connection()
    channels = [connection.channel() for _ in range(100)]
    queue = fresh()
    channels[0].queue_declare(queue, exclusive=True)
    for n, channel in enumerate(channels):
        channel.basic_publish("", queue, b"%d" % n)
    for channel in channels:        # each channel's publish is done when its next answer comes
        channel.queue_declare(queue, passive=True)
    bodies = {channels[0].basic_get(queue, auto_ack=True)[2] for _ in channels}
    assert bodies == {b"%d" % n for n in range(100)}


def test_pausing_the_broker_with_channel_flow_is_540(amqp):
    raw = amqp.raw()
    raw.open()
    raw.channel(1)
    raw.method(1, spec.Channel.Flow(active=False))
    close = raw.expect(spec.Connection.Close)
    assert close.reply_code == 540
