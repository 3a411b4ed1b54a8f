# protocol.py - what the Python drivers have in common.  README.md is the protocol.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import sys


class Cannot(Exception):
    """The library has no way to say it."""


def message(tag, body, redelivered, exchange, key, headers):
    return {"id": tag, "body": body.decode(), "redelivered": bool(redelivered), "exchange": exchange, "key": key,
            "headers": {k: v for k, v in (headers or {}).items() if isinstance(v, (str, int, bool))}}


def answer(driver, code_of, asked):
    method = getattr(driver, asked.pop("do"))
    try:
        return {"ok": method(**asked)}
    except Cannot as e:
        return {"cannot": str(e)}
    except Exception as e:                      # whatever it is, the scenario judges it
        return {"error": "%s: %s" % (type(e).__name__, e), "code": code_of(e)}


def serve(driver, code_of):
    for line in sys.stdin:
        print(json.dumps(answer(driver, code_of, json.loads(line))), flush=True)
