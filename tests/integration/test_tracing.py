"""A trace goes from the caller to the process that asks the model for it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from tests.fleet import running_fleet
from tests.integration.waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@asynccontextmanager
async def collector(exports: list[bytes]) -> AsyncGenerator[str]:
    """Take what is exported by OTLP over HTTP, as a collector does."""

    async def take(request: web.Request) -> web.Response:
        exports.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_callers_trace_is_continued_where_its_model_is_asked(tmp_path: Path):
    exports: list[bytes] = []
    async with (
        collector(exports) as url,
        running_fleet(
            tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_BSP_SCHEDULE_DELAY="50"
        ) as fleet,
        fleet.client() as client,
    ):
        await client.script("greeter", "Confidential-answer.")
        command = msgspec.json.encode({"agent_id": "greeter", "task": "Private-task."})
        reply = await client.nats.request(
            "cb.local.agents.execute", command, headers={"traceparent": TRACEPARENT}, timeout=10
        )
        await client.ended(msgspec.json.decode(reply.data)["execution_id"])

        def is_continued() -> bool:
            traced = [body for body in exports if bytes.fromhex(TRACE) in body]
            return all(any(actor in body for body in traced) for actor in (b"agents", b"streaming"))

        await until(is_continued)

    assert not any(b"Confidential" in body or b"Private" in body for body in exports)
