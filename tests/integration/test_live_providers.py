"""The battery against the providers' own services: paid for, so only where somebody asks for it.

``LIVE_PROVIDERS=1`` asks for it, for every provider whose key is in the environment. A model other
than the usual small one is named by ``LIVE_<PROVIDER>_MODEL``.
"""

import json
import os

import pytest
from click.testing import CliRunner

from actors.cli.commands import main

PROVIDERS = {
    "openai": ("OPENAI_API_KEY", "openai/gpt-4o-mini", []),
    "responses": ("OPENAI_API_KEY", "openai/gpt-5-mini", ["--set", "api=responses"]),
    "azure": ("AZURE_OPENAI_API_KEY", "azure/gpt-4o-mini", []),
    "anthropic": ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5", []),
    "bedrock": ("AWS_ACCESS_KEY_ID", "bedrock/us.amazon.nova-lite-v1:0", []),
    "google": ("GOOGLE_API_KEY", "google/gemini-2.5-flash", []),
    "groq": ("GROQ_API_KEY", "groq/llama-3.3-70b-versatile", []),
    "ollama": ("OLLAMA_BASE_URL", "ollama/llama3.2", []),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_live_provider_passes_the_battery(name: str):
    variable, usual, more = PROVIDERS[name]
    if not (os.environ.get("LIVE_PROVIDERS") and os.environ.get(variable)):
        pytest.skip(f"LIVE_PROVIDERS and {variable} are not both set")
    kind, _, model = usual.partition("/")
    model = os.environ.get(f"LIVE_{name.upper()}_MODEL", model)

    result = CliRunner().invoke(main, ["provider", "check", f"{kind}/{model}", *more, "--json"])

    found = {one["case"]: one for one in json.loads(result.stdout)}
    assert [one for one in found.values() if one["verdict"] == "failed"] == []
