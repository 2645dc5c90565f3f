"""A provider is added to a copy of the tree in two places, and called there: its type and its spec.

``python -m tests.sample_provider`` in that copy prints what its server was asked and what came of
it, as JSON. See ``tests/architecture/test_new_provider.py``.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
from aiohttp import web

from actors.agents.core import definitions
from actors.streaming.adapters.operator_secrets import operator_secrets
from actors.streaming.adapters.providers import open_providers
from actors.streaming.config import StreamingConfig
from actors.streaming.core.tokens.window import window_of
from actors.streaming.core.writing.continuation import takes_beginnings
from actors.streaming.flow.embedding import Embedder
from actors.streaming.flow.generation import Generator, Means
from bus.config import load
from bus.security.egress import Egress
from schemas.agents import AgentDefinition, CreateAgent
from schemas.lifecycle import EmbedWork, FinishGeneration
from schemas.llm import EmbedRequest
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from tests.attempts import NOW, ignore, work
from tests.providers_fake import answering, fake_provider

DEADLINE = NOW + timedelta(seconds=30)

TYPE = '''

class Sample(_Remote, tag="sample"):
    """A provider that only a test knows."""
'''
SPEC = """
    ProviderSpec(
        Sample,
        "https://sample.example/v1",
        "SAMPLE_BASE_URL",
        (SecretSpec("sample", "SAMPLE_API_KEY"),),
        continues=re.compile("writer"),
        window="unknown",
        rules=(CapabilityRule(models("writer"), "top_k", never, "takes no top_k"),),
    ),
"""


def add_to(tree: Path) -> None:
    """Add the provider: its type to one file, its spec to another."""
    types, specs = tree / "schemas/providers.py", tree / "schemas/provider_specs.py"
    _edit(types, "\n\nclass Custom(", f"{TYPE}\n\nclass Custom(")
    _edit(types, "| Groq | Custom", "| Groq | Sample | Custom")
    _edit(specs, "    Scripted,\n", "    Sample,\n    Scripted,\n")
    _edit(specs, "import CapabilityRule, models", "import CapabilityRule, models, never")
    _edit(specs, "SPECS = (\n", f"SPECS = ({SPEC}")


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file}: {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


async def _respond(request: web.Request) -> web.StreamResponse:
    if request.path.endswith("/embeddings"):
        rows = [{"index": 0, "embedding": [1.0, 2.0]}]
        return web.json_response({"data": rows, "usage": {"prompt_tokens": 2}})
    return await answering("Hel", "lo")(request)


def agent(**more: Any) -> AgentDefinition | Problem:
    """Define an agent of the provider, as a message does."""
    given = {"id": "one", "model_config": {"provider": "sample", "model": "writer-1"}, **more}
    return definitions.create("one", msgspec.convert(given, CreateAgent), NOW)


async def _called() -> dict[str, Any]:
    defined = agent()
    assert isinstance(defined, AgentDefinition), defined
    provider = defined.provider
    async with fake_provider(_respond) as fake:
        environ = {"SAMPLE_BASE_URL": fake.base_url, "SAMPLE_API_KEY": "sk-sample"}
        config = load(StreamingConfig, environ)
        secrets, egress = operator_secrets(config, environ), Egress(allow_loopback=True)
        async with open_providers(config, egress, secrets) as providers:
            done = await Generator(Means(providers=providers, clock=lambda: NOW)).run(
                work(provider), ignore
            )
            wanted = EmbedRequest(provider=provider, texts=["a"])
            asked = EmbedWork(
                execution_id="ex1",
                tenant="acme",
                step=1,
                attempt=1,
                deadline=DEADLINE,
                request=wanted,
            )
            found = await Embedder(providers, lambda: NOW).embedding(asked).embedded()
    assert isinstance(done, FinishGeneration), done
    refused = agent(config={"top_k": 3})
    return {
        "text": done.answer.text,
        "paths": fake.paths,
        "keys": [headers.get("Authorization") for headers in fake.headers],
        "dimensions": found.dimensions,
        "continues": takes_beginnings(provider, "supported"),
        "window": window_of(provider, None),
        "seller": terms_of(provider).or_provider,
        "refused": refused.field if isinstance(refused, Problem) else None,
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(anyio.run(_called)))
