# The AWS CLI of the distribution: its own main(), once for each command line, in one process, because to start it takes most of a
# second.  What is typed is `aws sqs send-message --cli-input-json {...}`.  See README.md.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
import os
import re
import sys

import awscli
import awscli.clidriver
from botocore import xform_name

os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local", AWS_DEFAULT_REGION="us-east-1", AWS_MAX_ATTEMPTS="1",
                  AWS_PAGER="", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)


class CommandLine:
    def __init__(self, address):
        self.endpoint, self.status = "http://" + address, None
        self.driver = awscli.clidriver.create_clidriver()
        # What it prints of an error does not have the status.
        self.driver.session.register("response-received.sqs", self.heard)
        self.model = self.driver.session.get_service_model("sqs")

    def heard(self, response_dict=None, **more):
        self.status = response_dict["status_code"] if response_dict else None

    def name(self):
        protocol = {"json": "JSON", "query": "Query"}[self.model.metadata["protocol"]]
        return "aws-cli %s (%s)" % (awscli.__version__, protocol)

    def run(self, words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = self.driver.main(words)
            except SystemExit as e:
                code = e.code
        return code, out.getvalue(), err.getvalue()

    def call(self, action, given):
        if action not in self.model.operation_names:
            return {"cannot": "it has no " + action}
        code, out, err = self.run(["--endpoint-url", self.endpoint, "--output", "json", "--no-paginate", "sqs",
                                   xform_name(action, "-"), "--cli-input-json", json.dumps(given)])
        if code == 0:
            return {"ok": json.loads(out) if out.strip() else {}}
        said = re.search(r"An error occurred \((.*?)\) when calling the \w+ operation(?: \(.*?\))?: (.*)", err, re.S)
        if not said:
            return {"error": err.strip() or "exit code %s" % code, "code": "", "status": None}
        return {"error": said.group(2).strip(), "code": said.group(1), "status": self.status}


line = None
for text in sys.stdin:
    command = json.loads(text)
    if command["do"] == "hello":
        line = CommandLine(command["address"])
        answer = {"ok": line.name()}
    else:
        answer = line.call(command["action"], command["input"])
    print(json.dumps(answer), flush=True)
