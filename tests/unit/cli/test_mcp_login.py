"""``callboard mcp login``: from a server that wants a token to a file that the pool finds."""

import threading
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import click
import httpx
import pytest
from click.testing import CliRunner, Result

from actors.cli.commands import main
from actors.mcp_pool.adapters.grant_files import FOLDER
from tests.mcp.authorization import Guarded, guarded


def _browse(url: str) -> None:
    """Do what a browser does; the command's own loop has to answer in the meantime."""
    threading.Thread(target=partial(httpx.get, url, follow_redirects=True)).start()


async def _run(server: Guarded, folder: Path, env: pytest.MonkeyPatch, *words: str) -> Result:
    file = folder / "servers.yaml"
    file.write_text(
        f"notes: {{url: '{server.url}', oauth: {{}}}}\nplain: {{url: '{server.url}'}}\n"
    )
    env.setenv("MCP_SERVERS_FILE", str(file))
    env.setenv("CALLBOARD_DATA", str(folder / "data"))
    env.setattr(click, "launch", _browse)
    with anyio.fail_after(20):
        return await anyio.to_thread.run_sync(
            partial(CliRunner().invoke, main, ["mcp", "login", *words])
        )


async def test_a_login_is_kept_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with guarded() as server:
        done = await _run(server, tmp_path, monkeypatch, "notes", "--scope", "read write")
        (kept,) = (tmp_path / "data" / FOLDER).glob("*.json")
        text = kept.read_text()
        forgotten = await _run(server, tmp_path, monkeypatch, "notes", "--forget")

    assert (done.exit_code, forgotten.exit_code) == (0, 0), done.output
    assert f"logged in: {server.url} offers 1 tools" in done.output
    assert server.logins[0]["scope"] == "read write"
    (token,) = server.good
    assert token in text
    assert token not in done.output
    assert not kept.exists()


async def test_a_login_that_fails_says_why_and_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with guarded() as server:
        await _run(server, tmp_path, monkeypatch, "notes")
        (kept,) = (tmp_path / "data" / FOLDER).glob("*.json")
        before = kept.read_bytes()
        server.iss = "https://evil.example"
        failed = await _run(server, tmp_path, monkeypatch, "notes")
        plain = await _run(server, tmp_path, monkeypatch, "plain")

    assert failed.exit_code == 1
    assert "another authorization server" in failed.output
    assert kept.read_bytes() == before
    assert plain.exit_code == 1
    assert "server.oauth" in plain.output
