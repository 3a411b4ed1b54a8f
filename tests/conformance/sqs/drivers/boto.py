# boto3, the distribution's (Query) or the current one (JSON): see README.md.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import base64
import json
import sys

import boto3
import botocore.config
import botocore.exceptions


def blobs(tree, turn):
    """The same, with what is called BinaryValue turned."""
    if isinstance(tree, dict):
        return {k: turn(v) if k == "BinaryValue" else blobs(v, turn) for k, v in tree.items()}
    return [blobs(v, turn) for v in tree] if isinstance(tree, list) else tree


def call(client, action, given):
    if action not in client.meta.service_model.operation_names:
        return {"cannot": "it has no " + action}
    try:
        answer = client._make_api_call(action, blobs(given, base64.b64decode))
    except botocore.exceptions.ClientError as e:
        return {"error": e.response["Error"].get("Message", ""), "code": e.response["Error"]["Code"],
                "status": e.response["ResponseMetadata"]["HTTPStatusCode"]}
    answer.pop("ResponseMetadata")
    return {"ok": blobs(answer, lambda raw: base64.b64encode(raw).decode())}


client = None
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "hello":
        client = boto3.client("sqs", endpoint_url="http://" + command["address"], region_name="us-east-1",
                              aws_access_key_id="local", aws_secret_access_key="local",
                              config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=40))
        protocol = {"json": "JSON", "query": "Query"}[client.meta.service_model.metadata["protocol"]]
        said = {"ok": "boto3 %s (%s)" % (boto3.__version__, protocol)}
    else:
        said = call(client, command["action"], command["input"])
    print(json.dumps(said), flush=True)
