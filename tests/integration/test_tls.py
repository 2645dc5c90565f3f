"""A connection that is encrypted carries the same as one that is not."""

import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from bus.connection import NatsAddress, connect
from bus.ports import Delivery
from bus.server.embedded import find_server
from tests.certificates import certify
from tests.integration.waiting import Inbox, until

pytestmark = pytest.mark.single_server

CONFIG = """
listen: "127.0.0.1:-1"
ports_file_dir: {folder}
tls {{ cert_file: {folder}/cert.pem, key_file: {folder}/key.pem }}
"""


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    """A server that takes encrypted connections only, and whose certificate is trusted."""
    certify(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    config = tmp_path / "tls.conf"
    config.write_text(CONFIG.format(folder=tmp_path))
    process = await anyio.open_process(
        [str(find_server()), "-c", str(config)], stderr=subprocess.DEVNULL
    )

    def ports() -> str:
        return "".join(file.read_text() for file in tmp_path.glob("*.ports"))

    try:
        await until(lambda: "}" in ports())
        port = ports().split("127.0.0.1:")[1].split('"')[0]
        yield f"tls://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def test_messages_of_any_size_arrive_whole_and_in_order(url: str):
    inbox = Inbox()
    sent = [bytes([number % 256]) * size for number, size in enumerate([0, 1, 900_000, 7] * 20)]

    async with (
        connect(NatsAddress(urls=[url], name="sealed")) as transport,
        transport.subscription("s", inbox.take),
    ):
        for data in sent:
            await transport.publish("s", data)
        await inbox.holds(len(sent))

    assert [delivery.data for delivery in inbox.deliveries] == sent


async def test_a_request_is_answered_and_a_receiver_takes_messages_at_once(url: str):
    async with connect(NatsAddress(urls=[url], name="sealed")) as transport:

        def double(delivery: Delivery) -> None:
            transport.tell(delivery.reply, delivery.data * 2)

        async with transport.reception("twice", double):
            answer = await transport.request("twice", b"ab", timeout=5)

    assert answer.data == b"abab"
