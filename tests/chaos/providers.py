"""Many requests to a provider that fails in every way: what they ended in, and what was left.

python -m tests.chaos.providers --requests 10000
"""

import argparse
import subprocess
import sys
from pathlib import Path
from time import monotonic

import anyio
import httpx

from actors.streaming.adapters.providers import open_providers
from actors.streaming.config import StreamingConfig
from actors.streaming.flow.generation import Generator, Means
from bus.runtime.process import resident_bytes
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from tests.soak import Soak, now

AT_ONCE = 100
PATIENCE = StreamingConfig(connect_timeout=5, idle_timeout=0.5, first_byte_timeout=0.7)
PARTS = 10
MAX_GROWTH_BYTES = 8 * 1024 * 1024
"""From the end of the third tenth to the end of the run."""

ROOT = Path(__file__).parents[2]


async def run(requests: int) -> bool:
    """Run, report, and say whether all held."""
    command = [sys.executable, "-m", "tests.faulty_provider"]
    async with await anyio.open_process(command, cwd=ROOT, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        port = int(await server.stdout.receive())
        try:
            return await _against(f"http://127.0.0.1:{port}", requests)
        finally:
            server.kill()


async def _against(url: str, requests: int) -> bool:
    tasks, memory, began = len(anyio.get_running_tasks()), list[int](), monotonic()
    egress = Egress(allow_loopback=True)
    async with open_providers(PATIENCE, egress, Secrets({}, {})) as providers:
        soak = Soak(Generator(Means(providers=providers, clock=now)), f"{url}/v1")
        for part in range(PARTS):
            places = range(part * requests // PARTS, (part + 1) * requests // PARTS)
            await soak.run(places, at_once=AT_ONCE)
            memory.append(resident_bytes())
            print(f"{places.stop:>7} requests, {memory[-1] / 2**20:6.1f} MiB")
    left = len(anyio.get_running_tasks()) - tasks
    open_connections = await _open(url)
    for kind, count in sorted(soak.ended.items()):
        print(f"{count:>7} {kind}")
    growth = memory[-1] - memory[PARTS * 3 // 10]
    print(f"seconds       {monotonic() - began:.0f}")
    print(f"growth        {growth / 2**20:.1f} MiB since the first third")
    print(f"left behind   {open_connections} connections, {left} tasks")
    print(f"did not hold  {sorted(set(soak.wrong)) or 'nothing'}")
    return not soak.wrong and not left and not open_connections and growth <= MAX_GROWTH_BYTES


async def _open(url: str) -> int:
    """Ask the server how many connections are open, once they have had time to close."""
    async with httpx.AsyncClient() as client:
        count = int((await client.get(f"{url}/open")).text)
        with anyio.move_on_after(10):
            while count:
                await anyio.sleep(0.1)
                count = int((await client.get(f"{url}/open")).text)
    return count


def main() -> int:
    """Run once; return 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.providers", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    return 0 if anyio.run(run, options.requests) else 1


if __name__ == "__main__":
    sys.exit(main())
