"""The yardstick: a relay that does nothing but pass bytes on, on aiohttp at both sides.

``python -m tests.bench.streaming_relay <provider's URL>`` serves chat completions on a free port,
which it prints. Every read from the provider is one write to the client; a client that leaves takes
its provider's connection with it.
"""

import sys

import aiohttp
import anyio
from aiohttp import web


class Relay:
    """Passes requests and answers on."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Ask the provider what was asked, and pass its answer on as it comes."""
        body = await request.read()
        headers = {"content-type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as answer:
            kind = {"content-type": answer.headers["content-type"]}
            response = web.StreamResponse(status=answer.status, headers=kind)
            await response.prepare(request)
            while chunk := await answer.content.readany():
                await response.write(chunk)
            await response.write_eof()
        return response


async def serve(url: str) -> None:
    """Serve on a free port and print it."""
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", Relay(session, url).respond)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
        print(runner.addresses[0][1], flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(serve, sys.argv[1], backend_options={"use_uvloop": sys.platform != "win32"})
