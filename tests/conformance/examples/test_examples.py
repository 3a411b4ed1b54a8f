# The programs in examples/, run as a reader of them would, and the whole story
# of script/demo on a broker of its own.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import boto3
import kafka
import pika
import pytest

from broker import ROOT

CLIENT = "kafka-python %s, pika %s, boto3 %s" % (kafka.__version__, pika.__version__, boto3.__version__)
CHAPTER = "The article's examples"


@pytest.mark.timeout(240)
def test_every_example_runs_and_three_protocols_share_one_queue():
    ended = subprocess.run([sys.executable, os.path.join(ROOT, "examples", "demo.py")], capture_output=True, text=True,
                           timeout=220)
    assert ended.returncode == 0, "\n".join((ended.stdout + ended.stderr).splitlines()[-40:])
