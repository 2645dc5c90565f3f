"""What a user sets reaches the commands that it is about."""

from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from actors.cli import executions
from actors.cli.config import CliConfig
from actors.cli.session import Session
from bus.client import Client
from bus.config import load
from schemas.streams import StreamEvent


@pytest.mark.parametrize(("environ", "size"), [({}, 1000), ({"STREAM_BUFFER_SIZE": "7"}, 7)])
async def test_a_command_that_follows_a_stream_keeps_as_many_events_as_is_set(
    environ: dict[str, str], size: int, monkeypatch: pytest.MonkeyPatch
):
    sizes: list[Any] = []

    async def followed(*_: Any, buffer_size: Any = None) -> AsyncGenerator[StreamEvent]:
        sizes.append(buffer_size)
        for event in ():
            yield event

    monkeypatch.setattr(executions, "follow", followed)
    session = Session(config=load(CliConfig, environ), urls=(), tenant="local", named=False)
    await executions._show(cast("Client", None), session, "e", None, json_=False)

    assert sizes == [size]
