"""A small MCP server for Help Scout.

    python deploy/examples/helpscout/server.py [--http [PORT]]

speaks on standard input and output, or over Streamable HTTP at http://127.0.0.1:8001/mcp. Its keys
come from the environment: HELPSCOUT_APP_ID, HELPSCOUT_APP_SECRET and, for articles,
HELPSCOUT_DOCS_KEY. HELPSCOUT_BASE_URL and HELPSCOUT_DOCS_URL name other places of the APIs.
"""

import argparse
import os
import sys
from dataclasses import fields

import anyio
import httpx
from helpscout_api import TIMEOUT_SECONDS, Account, HelpScout
from helpscout_tools import server

PORT = 8001
EX_CONFIG = 78


def account() -> Account:
    """Read the account from the environment; what must be there and is not ends the process."""
    found = {
        each.name: os.environ.get(f"HELPSCOUT_{each.name.upper()}") for each in fields(Account)
    }
    missing = [name for name in ("app_id", "app_secret") if not found[name]]
    if missing:
        print(
            "missing: " + ", ".join(f"HELPSCOUT_{one.upper()}" for one in missing), file=sys.stderr
        )
        sys.exit(EX_CONFIG)
    return Account(**{name: value for name, value in found.items() if value})


async def main(port: int | None) -> None:
    """Serve until the client has gone, or a signal."""
    known = account()
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
        offered = server(HelpScout(known, client))
        if port is None:
            await offered.run_stdio_async()
        else:
            await offered.run_streamable_http_async(port=port, stateless_http=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An MCP server for Help Scout.")
    parser.add_argument("--http", type=int, nargs="?", const=PORT, metavar="PORT")
    anyio.run(main, parser.parse_args().http)
