"""A server behind standard input and output that misbehaves as its tools are named."""

import json
import os
import subprocess
import sys
import time
from typing import Any


def main() -> None:
    """Answer line by line until the input ends."""
    print("a greeting that is no frame", flush=True)
    for line in sys.stdin:
        frame = json.loads(line)
        if "id" in frame and "method" in frame:
            answer(frame)


def answer(frame: dict[str, Any]) -> None:
    """Answer a request."""
    match frame["method"]:
        case "initialize":
            told = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            send(frame, {**told, "serverInfo": {"name": "stdio", "version": "1"}})
        case "tools/call":
            call(frame, frame["params"]["name"], frame["params"]["arguments"])
        case _:
            send(frame, {})


def call(frame: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
    """Do what the name of a tool says."""
    match name:
        case "child":
            # Of a session of its own, as a daemon would be.
            script = "import time; time.sleep(600)"
            child = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
            send(frame, text(str(child.pid)))
        case "environ":
            send(frame, text(json.dumps(dict(os.environ))))
        case "exit":
            os._exit(3)
        case "big":
            print(f'{{"jsonrpc":"2.0","id":{frame["id"]},"result":"', end="")
            for _ in range(arguments["megabytes"]):
                sys.stdout.write("x" * 1_000_000)
            print('"}', flush=True)
        case "hang":
            return
        case "stuck":
            time.sleep(600)
        case _:
            send(frame, text(json.dumps({"pid": os.getpid(), **arguments})))


def text(words: str) -> dict[str, Any]:
    """Return a result of one text."""
    return {"content": [{"type": "text", "text": words}]}


def send(frame: dict[str, Any], result: dict[str, Any]) -> None:
    """Answer with a result."""
    print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
