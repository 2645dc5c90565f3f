"""The battery of ``callboard provider check`` against endpoints, sound ones and others."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import structlog
from aiohttp import web
from click.testing import CliRunner, Result

from actors.cli.commands import main
from actors.streaming.core.checks.conformance import NAMES
from tests.attempts import KEY
from tests.providers_fake import (
    Behaviour,
    answer,
    answering,
    begin,
    breaking,
    chunk,
    event,
    fake_provider,
    refusing,
    sending,
)

SCRIPT = Path(__file__).parents[2] / "deploy" / "examples" / "local_model.py"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back how a command sets up logging, for the tests that come after."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def checked(*arguments: str, **environ: str) -> Result:
    command = ["provider", "check", *arguments, "--json"]
    return CliRunner().invoke(main, command, env=environ)


def verdicts(result: Result) -> dict[str, str]:
    """Return the verdicts by case; how fast a call closes depends on what else is running."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return {
        found["case"]: "closed" if found["detail"].startswith("closed ") else found["verdict"]
        for found in json.loads(result.stdout)
    }


async def against(behaviour: Behaviour, *arguments: str) -> Result:
    with anyio.fail_after(40):
        async with fake_provider(behaviour) as fake:
            environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": fake.base_url}
            return await anyio.to_thread.run_sync(
                lambda: checked("openai/m", *arguments, **environ)
            )


async def sound(request: web.Request) -> web.StreamResponse:
    """Answer as a model would that can do everything, to those who have the key."""
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return await refusing(401, {"code": "invalid_api_key"})(request)
    asked = json.loads(await request.read())
    if request.path.endswith("/embeddings"):
        return _embedded(asked)
    if asked["model"] != "m":
        return await refusing(404, {"code": "model_not_found"})(request)
    if not asked["stream"]:
        return web.json_response({"choices": [{"message": {"content": "Paris."}}]})
    return await sending(*_answer(asked))(request)


def _embedded(asked: dict[str, Any], **more: Any) -> web.Response:
    """Answer with vectors that say which text each is of, the last one first."""
    size = asked.get("dimensions", 4)
    rows = [
        {"index": at, "embedding": [1.0 if "sky" in text else -1.0] + [1.0] * (size - 1)}
        for at, text in enumerate(asked["input"])
    ]
    return web.json_response({"data": rows[::-1], "usage": {"prompt_tokens": 9}, **more})


def _answer(asked: dict[str, Any]) -> list[bytes]:
    if asked.get("reasoning_effort"):
        return [event(chunk(reasoning_content="17 * 23")), *answer("No.")]
    if asked.get("response_format"):
        return answer('{"score":5}')
    if asked.get("stop"):
        return answer("1 2 3 4 5 6 ")
    if asked["max_completion_tokens"] in {1, 16}:
        return answer("1 ", "2 ", finish="length")
    if asked.get("tools") and asked["messages"][-1]["role"] == "user":
        calls = [_call(place, city) for place, city in enumerate(["Oslo", "Rome"])]
        said = [event(chunk("I look.", tool_calls=calls))]
        return [*said, *answer(finish="tool_calls")]
    usage = {"prompt_tokens": 17, "completion_tokens": 61}
    return answer(*(f"{number} " for number in range(1, 61)), usage=usage)


def _call(place: int, city: str) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    return {"index": place, "id": f"call_{place}", "function": function}


async def test_a_sound_endpoint_passes_every_case():
    result = await against(sound, "--embedding-model", "e")

    assert verdicts(result) == dict.fromkeys(NAMES, "ok") | {"cancel": "closed"}


@pytest.mark.parametrize(
    ("behaviour", "verdict"),
    [
        (refusing(500, {"message": "x"}), "failed"),
        (breaking(event(chunk("Par"))), "failed"),
        (sending(*answer("Paris.", usage=None)), "failed"),
    ],
    ids=["failing", "cutting", "not counting"],
)
async def test_an_endpoint_that_is_not_sound_is_found_out(behaviour: Behaviour, verdict: str):
    result = await against(behaviour, "--only", "usage")

    assert verdicts(result) == {"usage": verdict}
    assert result.exit_code == 1


def _bent(**odd: Any) -> Behaviour:
    """Answer as a sound endpoint, but for what is asked of a model "m" in some way."""

    async def respond(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        for kind, behaviour in odd.items():
            if _is_of(kind, request, asked):
                return await behaviour(request)
        return await sound(request)

    return respond


def _is_of(kind: str, request: web.Request, asked: dict[str, Any]) -> bool:
    match kind:
        case "embeddings":
            return request.path.endswith("/embeddings")
        case "model":
            return asked["model"] != "m"
        case "whole":
            return not asked.get("stream", True)
        case _:
            return True


def _fragments(*calls: dict[str, Any], said: str | None = None) -> Behaviour:
    return sending(
        *(event(chunk(said, tool_calls=[call])) for call in calls), *answer(finish="tool_calls")
    )


async def _lingering(request: web.Request) -> web.StreamResponse:
    response = await begin(request, [*answer("Paris.")[:-2]])
    await anyio.sleep(1.2)
    await response.write_eof()
    return response


async def _all_alike(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"data": [{"index": at, "embedding": [1, 2]} for at in range(3)]})


async def _of_one_size(request: web.Request) -> web.StreamResponse:
    asked = json.loads(await request.read())
    return _embedded({**asked, "dimensions": 4})


TORN = {"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": '{"city":"Os'}}


FOUND_OUT = [
    ("text", _bent(all=sending(*answer(finish="network_down")))),
    ("usage", _bent(all=sending(*answer("Paris.", usage=None)))),
    ("tools", _bent(all=refusing(500))),
    ("thinking", _bent(all=refusing(500))),
    ("schema", _bent(all=refusing(500))),
    ("cancel", _bent(all=refusing(500))),
    ("counts", _bent(all=sending(*answer("1 2 3 " * 99, usage={"prompt_tokens": 17})))),
    ("counts", _bent(all=answering("1 2 3 " * 99))),
    ("ending", _bent(all=_lingering)),
    ("ending", _bent(all=answering("Paris.", finish="whatever"))),
    ("long output", _bent(all=answering("1 2 3 " * 99))),
    ("limit", _bent(all=answering("1 2 3 "))),
    ("one token", _bent(all=answering("1", finish="stop"))),
    ("one token", _bent(all=answering("1", finish="max_length_hit"))),
    ("stop", _bent(all=answering("1 2 3 4 5 6 7 8 9"))),
    ("fragments", _bent(all=_fragments(TORN))),
    ("text and tools", _bent(all=_fragments(_call(0, "Oslo"), said='{"city":"Oslo"}'))),
    ("parallel tools", _bent(all=refusing(500))),
    ("tool result", _bent(all=refusing(500))),
    ("unstreamed", _bent(whole=sending(*answer("Paris.")))),
    ("bad key", _bent(all=refusing(500))),
    ("bad model", _bent(model=sending(event({"error": {"code": 404}})))),
    ("bad model", _bent(model=refusing(500))),
    ("embeddings", _bent(embeddings=_all_alike)),
    ("dimensions", _bent(embeddings=_of_one_size)),
]
"""Of each line, an endpoint that fails it."""


def test_each_line_can_fail():
    assert {case for case, _ in FOUND_OUT} == set(NAMES)


@pytest.mark.parametrize(("case", "behaviour"), FOUND_OUT)
async def test_each_line_finds_what_it_is_there_for(case: str, behaviour: Behaviour):
    result = await against(behaviour, "--only", case, "--embedding-model", "e")

    assert verdicts(result) == {case: "failed"}
    assert result.exit_code == 1


async def test_what_was_not_asked_for_is_said_to_be_lacking():
    result = await against(sound, "--only", "embeddings", "--only", "dimensions")

    assert verdicts(result) == {"embeddings": "lacking", "dimensions": "lacking"}


async def test_an_endpoint_that_never_ends_is_left_in_time():
    async def silent(request: web.Request) -> web.StreamResponse:
        response = await begin(request, [event(chunk("1 "))])
        await anyio.sleep_forever()
        return response

    result = await against(silent, "--patience", "0.3", "--only", "text", "--only", "cancel")

    assert verdicts(result) == {"text": "failed", "cancel": "closed"}


async def test_a_server_without_keys_and_tools_is_lacking_and_no_worse():
    result = await against(answering("Paris."), "--only", "tools", "--only", "bad key")

    assert verdicts(result) == {"tools": "lacking", "bad key": "lacking"}
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [["openai/m", "--set", "colour=red"], ["nobody/m"], ["openai/m", "--set", "x"]],
    ids=["field", "provider", "pair"],
)
def test_a_provider_that_there_is_not_is_refused(arguments: list[str]):
    assert CliRunner().invoke(main, ["provider", "check", *arguments]).exit_code == 2


MISSING = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, check=False)
MODEL = pytest.mark.skipif(
    MISSING.returncode != 0, reason=MISSING.stderr.decode().strip() or "none"
)


@pytest.fixture(scope="module")
def local_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port_file = tmp_path_factory.mktemp("model") / "port"
    command = [sys.executable, str(SCRIPT), "--port-file", str(port_file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not port_file.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}/v1"
        process.terminate()


ABLE_OR_NOT = frozenset(
    {
        *("stop", "tools", "fragments", "text and tools", "parallel tools", "tool result"),
        *("thinking", "bad key", "bad model", "embeddings", "dimensions"),
    }
)
"""A model this small, and its server, may lack what these ask for."""


@MODEL
@pytest.mark.model
@pytest.mark.parametrize(
    ("named", "limit", "schema"),
    [
        (["openai/local"], "ok", "ok"),
        # This server says of every response that it was completed, and takes a schema only in Chat.
        (["openai/local", "--set", "api=responses"], "failed", "lacking"),
        (["anthropic/local"], "ok", "lacking"),
    ],
    ids=["chat", "responses", "messages"],
)
def test_a_real_model_passes_the_battery_in_every_format(
    local_model: str, named: list[str], limit: str, schema: str
):
    # It counts for ever, so its answers are kept short.
    bounds = ("--temperature", "0", "--max-tokens", "110")

    found = verdicts(checked(*named, "--base-url", local_model, *bounds))

    assert {found.pop(case) for case in ABLE_OR_NOT} <= {"ok", "lacking"}
    assert found == {
        "text": "ok",
        "usage": "ok",
        "long output": "ok",
        "counts": "ok",
        "ending": "ok",
        "limit": limit,
        "one token": limit,
        "unstreamed": "ok",
        "schema": schema,
        "cancel": "closed",
    }
