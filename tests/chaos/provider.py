"""The provider that a fleet under chaos asks: a process of its own, which nobody kills or stops.

It writes down each call as it comes and as it ends, and answers each in other words. So it knows
from outside what was asked how often, and whose words an answer is made of.
``python -m tests.chaos.provider FILE`` prints its port.
"""

import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import anyio
import msgspec
from aiohttp import web

from bus.codec import encode
from tests.chaos.ledger import time_of_day
from tests.providers_fake import DONE, USAGE, begin, chunk, event

ROOT = Path(__file__).parents[2]
MODEL = "ledger"
TASK = "Say something for {}."
FEWEST_WORDS, MOST_WORDS = 20, 60
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.06

_ASKED_FOR = re.compile(rb"Say something for ([\w-]+)\.")
_USAGE: dict[str, Any] = {"id": "chatcmpl-1", "model": MODEL, "choices": [], "usage": USAGE}
_END = event(chunk(finish="stop")) + event(_USAGE) + DONE
_WORDS = [
    "who",
    "writes",
    "down",
    "each",
    "question",
    "as",
    "it",
    "comes",
    "knows",
    "how",
    "often",
    "it",
    "was",
    "asked",
]


class Begun(msgspec.Struct, tag="begun"):
    """A call came in; ``text`` is what it is answered if it is heard to the end."""

    number: int
    execution: str
    at: float
    text: str


class Ended(msgspec.Struct, tag="ended"):
    """All words of the answer were sent, or the caller was gone."""

    number: int
    at: float
    whole: bool


@dataclass(slots=True)
class Call:
    """One call as its receiver saw it, by the time of day."""

    begun: Begun
    ended: Ended | None = None

    @property
    def whole(self) -> bool:
        """Whether all words of the answer were sent."""
        return self.ended is not None and self.ended.whole


def read_calls(file: Path) -> dict[str, list[Call]]:
    """Return all calls by execution, each in the order of their arrival."""
    calls, found = dict[int, Call](), dict[str, list[Call]]()
    for line in file.read_bytes().splitlines():
        noted = msgspec.json.decode(line, type=Begun | Ended)
        if isinstance(noted, Ended):
            calls[noted.number].ended = noted
        else:
            call = calls[noted.number] = Call(noted)
            found.setdefault(noted.execution, []).append(call)
    return found


class LedgerProvider:
    """The server: it speaks Chat Completions and keeps the ledger."""

    def __init__(self, file: Path) -> None:
        self._ledger = file.open("ab", buffering=0)
        self._calls = 0

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Write down a call, answer it word by word, write down how it ended."""
        asked = _ASKED_FOR.search(await request.read())
        if asked is None:
            return web.json_response({"error": {"message": "for whom?"}}, status=400)
        execution = asked[1].decode()
        self._calls += 1
        number, chance = self._calls, Random(self._calls)
        words = chance.choices(_WORDS, k=chance.randint(FEWEST_WORDS, MOST_WORDS))
        pieces = [f"{execution}, call {number}: ", *words]
        self._note(Begun(number, execution, time_of_day(), "".join(pieces)))
        response = await begin(request, [event(chunk("", role="assistant"))])
        whole = False
        try:
            await _speak(response, pieces, chance.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))
            whole = True
        finally:
            self._note(Ended(number, time_of_day(), whole))
        await response.write(_END)
        await response.write_eof()
        return response

    def _note(self, what: Begun | Ended) -> None:
        self._ledger.write(encode(what) + b"\n")

    async def serve(self) -> None:
        """Serve on a free loopback port, which is printed, until the process ends."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.respond)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


async def _speak(response: web.StreamResponse, pieces: list[str], pause: float) -> None:
    for piece in pieces:
        await response.write(event(chunk(piece)))
        await anyio.sleep(pause)


@asynccontextmanager
async def running_provider(file: Path) -> AsyncGenerator[str]:
    """Run one while the context is open; yields its base URL."""
    command = [sys.executable, "-m", "tests.chaos.provider", str(file)]
    async with await anyio.open_process(command, cwd=ROOT, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(await server.stdout.receive())}/v1"
        finally:
            server.kill()


if __name__ == "__main__":
    anyio.run(LedgerProvider(Path(sys.argv[1])).serve)
