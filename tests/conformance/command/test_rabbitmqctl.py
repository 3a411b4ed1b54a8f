# rabbitmqctl and rabbitmq-diagnostics: their commands, words and exit codes; hawser users and the like; who may ask.
#
# What is expected was taken from RabbitMQ 3.10's own tools.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import boto3
import pika
import pytest

from broker import Broker

CLIENT = "the shell"
CHAPTER = "The command"


@pytest.fixture(scope="module")
def broker():
    broker = Broker().start()
    yield broker
    broker.close()


class Shell:
    def __init__(self, broker, credentials=""):
        self.broker = broker
        self.credentials = credentials

    def run(self, program, *words, stdin=""):
        folder = os.path.dirname(Broker().binary)
        server = "http://" + (self.credentials + "@" if self.credentials else "") + self.broker.address("admin")
        environment = {**os.environ, "HAWSER_SERVER": server}
        done = subprocess.run([os.path.join(folder, program), *words], capture_output=True, text=True, timeout=30, input=stdin,
                              env=environment)
        return done.returncode, done.stdout, done.stderr

    def ctl(self, *words, **more):
        return self.run("rabbitmqctl", *words, **more)

    def done(self, *words, **more):
        status, text, error = self.ctl(*words, **more)
        assert (status, error) == (0, ""), (status, text, error)
        return text


@pytest.fixture
def shell(broker):
    it = Shell(broker)
    yield it
    for user in ("ada", "bob"):
        it.ctl("delete_user", user)
    it.ctl("delete_vhost", "v1")


def test_users_are_added_listed_and_deleted(shell):
    assert shell.done("add_user", "ada", "secret").startswith('Adding user "ada" ...\nDone.')
    assert shell.ctl("add_user", "ada", "secret") == (70, 'Adding user "ada" ...\n', 'Error:\nUser "ada" already exists\n')
    assert shell.done("list_users") == "Listing users ...\nuser\ttags\nguest\t[administrator]\nada\t[]\n"
    assert shell.done("-q", "set_user_tags", "ada", "administrator", "management") == ""
    assert shell.done("-q", "list_users") == "user\ttags\nguest\t[administrator]\nada\t[administrator, management]\n"
    assert shell.done("-s", "list_users") == "guest\t[administrator]\nada\t[administrator, management]\n"
    assert shell.done("list_users", "--formatter", "json") == (
        '[\n{"user":"guest","tags":["administrator"]}\n,{"user":"ada","tags":["administrator","management"]}\n]\n')
    assert shell.done("delete_user", "ada") == 'Deleting user "ada" ...\n'
    assert shell.ctl("-q", "delete_user", "ada") == (67, "", 'Error:\nUser "ada" does not exist\n')


def test_passwords_are_checked_and_changed(shell):
    shell.done("add_user", "ada", stdin="secret\n")
    shell.done("set_user_tags", "ada", "monitoring")
    assert shell.done("authenticate_user", "ada", "secret") == 'Authenticating user "ada" ...\nSuccess\n'
    status, _, error = shell.ctl("authenticate_user", "ada", "wrong")
    assert status == 65 and error == ("Error:\nError: failed to authenticate user \"ada\"\n"
                                      "user 'ada' - invalid credentials\n")
    shell.done("change_password", "ada", "new")
    assert shell.ctl("authenticate_user", "ada", "secret")[0] == 65
    assert shell.ctl("authenticate_user", "ada", "new")[0] == 0
    assert "ada\t[monitoring]\n" in shell.done("-q", "list_users")
    shell.done("clear_password", "ada")
    assert shell.ctl("authenticate_user", "ada", "new")[0] == 65
    assert shell.ctl("add_user", "bob", "")[0] == 65


def test_virtual_hosts_and_permissions(shell):
    shell.done("add_user", "ada", "secret")
    assert shell.done("add_vhost", "v1", "--description", "of others") == 'Adding vhost "v1" ...\n'
    assert shell.ctl("add_vhost", "v1")[0] == 0
    assert shell.done("list_vhosts") == "Listing vhosts ...\nname\n/\nv1\n"
    assert shell.done("-q", "list_vhosts", "name", "description").splitlines()[2] == "v1\tof others"
    assert shell.done("set_permissions", "-p", "v1", "ada", "^a", "", ".*") == (
        'Setting permissions for user "ada" in vhost "v1" ...\n')
    assert shell.done("list_permissions", "-p", "v1") == (
        'Listing permissions for vhost "v1" ...\nuser\tconfigure\twrite\tread\nada\t^a\t\t.*\n')
    assert shell.done("-q", "list_user_permissions", "ada") == "vhost\tconfigure\twrite\tread\nv1\t^a\t\t.*\n"
    assert shell.ctl("-q", "set_permissions", "-p", "none", "ada", "^", "", ".*") == (
        69, "", "Error:\nVirtual host none does not exist\n")
    assert shell.ctl("-q", "set_permissions", "-p", "v1", "nobody", "^", "", ".*") == (
        67, "", "Error:\nUser nobody does not exist\n")
    assert shell.ctl("set_permissions", "-p", "v1", "ada", "^(", "", ".*")[0] == 69
    shell.done("set_topic_permissions", "-p", "v1", "ada", "amq.topic", "^a", ".*")
    assert shell.done("-q", "list_topic_permissions", "-p", "v1") == "user\texchange\twrite\tread\nada\tamq.topic\t^a\t.*\n"
    shell.done("clear_topic_permissions", "-p", "v1", "ada")
    shell.done("clear_permissions", "-p", "v1", "ada")
    assert shell.done("-q", "list_permissions", "-p", "v1") == ""
    assert shell.done("delete_vhost", "v1") == 'Deleting vhost "v1" ...\n'
    assert shell.ctl("delete_vhost", "v1")[0] == 65


def test_policies_and_limits(shell):
    shell.done("add_vhost", "v1")
    assert shell.done("set_policy", "-p", "v1", "p3", "^z", '{"max-length":1}', "--priority", "2", "--apply-to", "queues") == (
        'Setting policy "p3" for pattern "^z" to "{"max-length":1}" with priority "2" for vhost "v1" ...\n')
    assert shell.done("list_policies", "-p", "v1") == (
        'Listing policies for vhost "v1" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n'
        'v1\tp3\t^z\tqueues\t{"max-length":1}\t2\n')
    status, _, error = shell.ctl("set_policy", "p3", "^z", '{"max-lengthy":1}')
    assert status == 69 and 'Validation failed\n\n[{<<"max-lengthy">>,1}] are not recognised policy settings\n' in error
    assert shell.ctl("set_policy", "p3", "^z", "nojson")[0] == 69
    assert shell.ctl("set_operator_policy", "o", "^z", '{"dead-letter-exchange":"x"}')[0] == 69
    shell.done("set_operator_policy", "-p", "v1", "o", "^z", '{"expires":3600000}')
    assert "v1\to\t^z\tqueues\t{\"expires\":3600000}\t0\n" in shell.done("list_operator_policies", "-p", "v1")
    shell.done("clear_policy", "-p", "v1", "p3")
    assert shell.ctl("-q", "clear_policy", "-p", "v1", "p3") == (69, "", "Error:\nParameter does not exist\n")
    shell.done("set_vhost_limits", "-p", "v1", '{"max-connections":1,"max-queues":5}')
    assert shell.done("-q", "list_vhost_limits", "-p", "v1") == '{"max-connections":1,"max-queues":5}\n'
    shell.done("clear_vhost_limits", "-p", "v1")
    assert shell.done("-q", "list_vhost_limits", "-p", "v1") == "{}\n"
    shell.done("add_user", "ada", "secret")
    shell.done("set_user_limits", "ada", '{"max-connections":1}')
    assert shell.done("-q", "list_user_limits", "ada") == '{"max-connections":1}\n'
    assert shell.ctl("set_user_limits", "ada", '{"max-nothing":1}')[0] == 69


def test_queues_exchanges_bindings_and_connections_are_listed(shell, broker):
    host, port = broker.amqp.rsplit(":", 1)
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
    channel = connection.channel()
    channel.queue_declare("q1", durable=True, arguments={"x-message-ttl": 500000})
    channel.exchange_declare("x1", "topic")
    channel.queue_bind("q1", "x1", "a.*", {"k": 1})
    channel.confirm_delivery()
    channel.basic_publish("", "q1", b"")
    assert shell.done("list_queues") == (
        "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nname\tmessages\nq1\t1\n")
    assert shell.done("-q", "list_queues", "name", "durable", "arguments", "state") == (
        'name\tdurable\targuments\tstate\nq1\ttrue\t[{"x-message-ttl",500000}]\trunning\n')
    assert shell.ctl("list_queues", "nonsense")[0] == 64
    assert "\nx1\ttopic\n" in shell.done("list_exchanges")
    assert shell.done("-q", "list_bindings") == (
        "source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n"
        '\texchange\tq1\tqueue\tq1\t[]\nx1\texchange\tq1\tqueue\ta.*\t[{"k",1}]\n')
    assert shell.done("-q", "list_connections", "user", "vhost", "state") == "user\tvhost\tstate\nguest\t/\trunning\n"
    assert shell.done("purge_queue", "q1") == "Purging queue 'q1' in vhost '/' ...\n"
    assert shell.done("delete_queue", "q1") == (
        "Deleting queue 'q1' on vhost '/' ...\nQueue was successfully deleted with 0 ready messages\n")
    assert shell.ctl("-q", "delete_queue", "q1") == (64, "", "Error:\nQueue not found\n")
    shell.done("close_all_connections", "enough")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="CONNECTION_FORCED - enough"):
        while True:
            connection.process_data_events(0.1)


def test_channels_and_consumers_are_listed(shell, broker):
    host, port = broker.amqp.rsplit(":", 1)
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
    one, two = connection.channel(1), connection.channel(2)
    one.queue_declare("active", arguments={"x-single-active-consumer": True})
    one.confirm_delivery()
    one.basic_qos(prefetch_count=7)
    one.basic_publish("", "active", b"")
    one.basic_consume("active", lambda *_: None, consumer_tag="first", arguments={"x-priority": 4})
    two.tx_select()
    two.basic_publish("", "active", b"")
    two.basic_consume("active", lambda *_: None, consumer_tag="second", auto_ack=True)
    connection.process_data_events(0.1)
    columns = ("number", "user", "vhost", "transactional", "confirm", "consumer_count", "messages_unacknowledged",
               "messages_uncommitted", "messages_unconfirmed", "prefetch_count", "global_prefetch_count")
    rows = shell.done("-q", "list_channels", *columns).split("\n")
    assert rows[0] == "\t".join(columns)
    assert sorted(rows[1:3]) == ["1\tguest\t/\tfalse\ttrue\t1\t1\t0\t0\t7\t0", "2\tguest\t/\ttrue\tfalse\t1\t0\t1\t0\t0\t0"]
    assert shell.done("list_channels").startswith("Listing channels ...\npid\tuser\tconsumer_count\tmessages_unacknowledged\n")
    columns = ("queue_name", "consumer_tag", "ack_required", "prefetch_count", "active", "activity_status", "arguments")
    rows = shell.done("-s", "list_consumers", *columns).split("\n")
    assert sorted(rows[:2]) == ['active\tfirst\ttrue\t7\ttrue\tsingle_active\t[{"x-priority",4}]',
                                "active\tsecond\tfalse\t0\tfalse\twaiting\t[]"]
    assert shell.done("list_consumers").startswith("Listing consumers in vhost / ...\nqueue_name\tchannel_pid\tconsumer_tag\t")
    assert shell.ctl("list_consumers", "-p", "nowhere")[0] != 0

    [row] = json.loads(shell.done("list_connections", "name", "peer_port", "port", "frame_max", "client_properties", "--formatter", "json"))
    assert row["port"] == int(port) and row["frame_max"] == 131072
    assert row["client_properties"]["product"] == "Pika Python Client Library"
    name = "%s (1)" % row["name"]
    ask = lambda path: json.load(urllib.request.urlopen("http://%s/api/%s" % (broker.address("admin"), path)))
    quoted = urllib.parse.quote(row["name"], safe="")
    assert ask("connections/" + quoted)["channels"] == 2
    assert {c["number"] for c in ask("connections/%s/channels" % quoted)} == {1, 2}
    channel = ask("channels/" + urllib.parse.quote(name, safe=""))
    assert channel["name"] == name and channel["connection_details"]["name"] == row["name"] and channel["messages_unacknowledged"] == 1
    assert {c["channel_details"]["name"] for c in ask("consumers/%2F")} == {name, "%s (2)" % row["name"]}
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask("connections/nobody")
    shell.done("close_connection", row["name"], "by name")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="CONNECTION_FORCED - by name"):
        while True:
            connection.process_data_events(0.1)
    assert shell.done("-s", "list_consumers") == "" and ask("channels") == []


def test_definitions_go_out_and_come_back(shell, broker, tmp_path):
    shell.done("add_user", "ada", "secret")
    shell.done("add_vhost", "v1")
    shell.done("set_permissions", "-p", "v1", "ada", ".*", ".*", ".*")
    shell.done("set_policy", "-p", "v1", "p", ".", '{"max-length":7,"overflow":"reject-publish"}')
    shell.done("set_vhost_limits", "-p", "v1", '{"max-queues":9}')
    host, port = broker.amqp.rsplit(":", 1)
    parameters = pika.ConnectionParameters(host, int(port), "v1", pika.PlainCredentials("ada", "secret"))
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.queue_declare("q", durable=True, arguments={"x-max-priority": 3})
    channel.exchange_declare("x", "headers", durable=True)
    channel.queue_bind("q", "x", "", {"x-match": "any", "k": "v"})
    connection.close()
    file = str(tmp_path / "definitions.json")
    shell.done("export_definitions", file)
    with open(file) as f:
        before = json.load(f)
    shell.done("delete_vhost", "v1")
    shell.done("delete_user", "ada")
    shell.done("import_definitions", file)
    assert json.loads(shell.done("export_definitions", "-")) == before
    channel = pika.BlockingConnection(parameters).channel()
    channel.queue_declare("q", durable=True, arguments={"x-max-priority": 3})
    assert '{"max-length":7,"overflow":"reject-publish"}' in shell.done("list_policies", "-p", "v1")
    shell.ctl("import_definitions", file)
    status, _, error = shell.ctl("import_definitions", stdin='{"policies":[{"vhost":"/","name":"p","pattern":".","definition":{"x":1}}]}')
    assert status == 69 and "not recognised" in error


def test_a_policy_holds_for_queues_of_SQS_and_leaves_their_attributes_alone(shell, broker):
    sqs = boto3.client("sqs", endpoint_url="http://" + broker.sqs)
    url = sqs.create_queue(QueueName="limited", Attributes={"VisibilityTimeout": "7"})["QueueUrl"]
    shell.done("set_policy", "short", "^limited$", '{"max-length":2}')

    def sent(count):
        for _ in range(count):
            sqs.send_message(QueueUrl=url, MessageBody="m")
        got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return got["ApproximateNumberOfMessages"], got["VisibilityTimeout"]

    assert sent(4) == ("2", "7")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "9"})
    assert sent(4) == ("2", "9")
    shell.done("clear_policy", "short")
    assert sent(4) == ("6", "9")
    sqs.delete_queue(QueueUrl=url)


# What RabbitMQ itself exported, hash and all.
RABBITMQ = {
    "rabbit_version": "3.10.8",
    "users": [{"name": "ada", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
               "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ["monitoring"], "limits": {}}],
    "vhosts": [{"name": "v1"}],
    "permissions": [{"user": "ada", "vhost": "v1", "configure": ".*", "write": ".*", "read": ".*"}],
    "topic_permissions": [], "parameters": [], "global_parameters": [{"name": "internal_cluster_id", "value": "x"}],
    "policies": [], "queues": [{"name": "q", "vhost": "v1", "durable": True, "auto_delete": False,
                                "arguments": {"x-queue-type": "quorum"}}],
    "exchanges": [], "bindings": [],
}


def test_definitions_of_RabbitMQ_are_taken_over(shell, broker):
    shell.done("import_definitions", stdin=json.dumps(RABBITMQ))
    host, port = broker.amqp.rsplit(":", 1)
    parameters = pika.ConnectionParameters(host, int(port), "v1", pika.PlainCredentials("ada", "test12"))
    connection = pika.BlockingConnection(parameters)
    connection.channel().queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    connection.close()


def test_health_checks(shell, broker):
    assert shell.run("rabbitmq-diagnostics", "-q", "ping") == (0, "Ping succeeded\n", "")
    assert shell.run("rabbitmq-diagnostics", "check_running")[0] == 0
    assert shell.run("rabbitmq-diagnostics", "-q", "check_port_connectivity")[0] == 0
    assert shell.run("rabbitmq-diagnostics", "check_local_alarms")[0] == 0
    assert shell.run("rabbitmq-diagnostics", "check_port_listener", broker.amqp.rsplit(":")[-1])[0] == 0
    assert shell.run("rabbitmq-diagnostics", "check_port_listener", "1")[0] == 69
    assert shell.run("rabbitmq-diagnostics", "check_protocol_listener", "amqp")[0] == 0
    assert shell.run("rabbitmq-diagnostics", "check_virtual_hosts")[0] == 0
    assert shell.ctl("node_health_check")[1].endswith("Health check passed\n")
    assert shell.ctl("await_startup")[0] == 0
    assert "protocol: amqp" in shell.done("status")
    assert shell.ctl("-n", "rabbit@here", "list_users")[0] == 0
    assert shell.ctl("eval", "1+1.")[0] == 64
    assert shell.ctl("nonsense")[0] == 64
    gone = Shell(broker)
    gone.broker = type("Nobody", (), {"address": staticmethod(lambda name: "127.0.0.1:1")})
    assert gone.run("rabbitmq-diagnostics", "ping")[0] == 69
    assert gone.ctl("-t", "0", "await_startup")[0] == 75
    assert gone.ctl("list_users")[0] == 69


def test_the_same_under_names_of_our_own(shell):
    assert shell.run("hawser", "users", "add", "ada", "secret") == (0, "", "")
    assert shell.run("hawser", "users", "list")[1] == "user\ttags\nguest\t[administrator]\nada\t[]\n"
    assert shell.run("hawser", "permissions", "set", "ada", ".*", ".*", ".*") == (0, "", "")
    assert shell.run("hawser", "permissions", "of", "ada")[1] == "vhost\tconfigure\twrite\tread\n/\t.*\t.*\t.*\n"
    assert shell.run("hawser", "users", "delete", "ada") == (0, "", "")
    assert shell.run("hawser", "users")[0] == 2


def test_once_there_are_users_the_admin_listener_asks_who_it_is():
    with_user = Broker(options=("--set", "default_user=root", "--set", "default_pass=pass")).start()
    try:
        assert Shell(with_user).ctl("list_users")[0] == 69          # guest is not there
        shell = Shell(with_user, "root:pass")
        shell.done("add_user", "ada", "secret")
        assert Shell(with_user, "ada:secret").ctl("list_users")[0] == 69
        shell.done("set_user_tags", "ada", "management")
        assert Shell(with_user, "ada:secret").ctl("list_users")[0] == 69
        assert Shell(with_user, "ada:secret").ctl("list_vhosts")[0] == 0
        assert shell.ctl("delete_user", "root")[0] == 69            # the configuration's
        assert shell.done("-s", "list_users") == "root\t[administrator]\nada\t[management]\n"
        assert Shell(with_user).run("rabbitmq-diagnostics", "ping")[0] == 0
        assert Shell(with_user).run("hawser", "topics", "list")[0] != 0
        assert shell.run("hawser", "topics", "list")[0] == 0
    finally:
        with_user.close()
