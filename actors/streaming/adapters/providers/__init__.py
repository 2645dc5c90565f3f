"""The providers by the type that a definition names, each as its spec says.

Only what signs, addresses or pays for its requests in a way of its own has a module here.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from actors.streaming.adapters.google_tokens import GoogleTokens
from actors.streaming.adapters.http import build_client
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.http_endpoint import HttpEndpoint
from actors.streaming.adapters.providers.anthropic import AnthropicEndpoint
from actors.streaming.adapters.providers.azure import AzureEndpoint
from actors.streaming.adapters.providers.base import ModelProvider
from actors.streaming.adapters.providers.bedrock import BedrockEndpoint
from actors.streaming.adapters.providers.google import GoogleEndpoint
from actors.streaming.adapters.providers.scripted import ScriptedProvider
from actors.streaming.adapters.script_turns import ScriptTurn, ScriptTurns
from actors.streaming.config import StreamingConfig
from bus.jetstream.bus import system_clock
from bus.kv import Bucket, MemoryBucket
from bus.ports import Clock
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from schemas.provider_specs import BY_KIND
from schemas.providers import Anthropic, Azure, Bedrock, Google, Provider, Scripted

Providers = Mapping[type[Provider], ModelProvider]


@asynccontextmanager
async def open_providers(
    config: StreamingConfig,
    egress: Egress,
    secrets: Secrets,
    clock: Clock = system_clock,
    scripts: Bucket[ScriptTurn] | None = None,
) -> AsyncGenerator[Providers]:
    """Hold the process's providers and their connections open.

    ``scripts`` counts the turns of scripts; without it they are counted for this process alone.
    """
    client = build_client(
        egress,
        connect_timeout=config.connect_timeout,
        read_timeout=config.idle_timeout,
        keep_alive=config.keep_alive,
    )
    async with client:
        own: dict[type[Provider], HttpEndpoint[Any]] = {
            Azure: AzureEndpoint(secrets, config),
            Anthropic: AnthropicEndpoint(secrets, config),
            Bedrock: BedrockEndpoint(secrets, config, clock),
            Google: GoogleEndpoint(secrets, config, GoogleTokens(client, clock)),
        }
        usual: HttpEndpoint[Any] = HttpEndpoint(secrets, config)
        cold = msgspec.structs.replace(config, first_byte_timeout=config.cold_start_timeout)
        called = {
            kind: HttpProvider(client, own.get(kind, usual), cold if spec.is_cold else config)
            for kind, spec in BY_KIND.items()
        }
        turns = ScriptTurns(scripts or MemoryBucket(ScriptTurn))
        yield {**called, Scripted: ScriptedProvider(turns)}
