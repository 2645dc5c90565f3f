"""The providers by the type that a definition names. A new one is a module and a line below."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from actors.streaming.adapters.http import build_client
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.providers.anthropic import AnthropicEndpoint
from actors.streaming.adapters.providers.azure import AzureEndpoint
from actors.streaming.adapters.providers.base import ModelProvider
from actors.streaming.adapters.providers.openai import OpenAIEndpoint
from actors.streaming.adapters.providers.scripted import ScriptedProvider
from actors.streaming.config import StreamingConfig
from bus.egress import Egress
from bus.secrets import Secrets
from schemas.providers import Anthropic, Azure, Custom, Groq, OpenAI, Provider, Scripted

Providers = Mapping[type[Provider], ModelProvider]


@asynccontextmanager
async def open_providers(
    config: StreamingConfig, egress: Egress, secrets: Secrets
) -> AsyncGenerator[Providers]:
    """Hold the process's providers and their connections open."""
    client = build_client(
        egress,
        connect_timeout=config.connect_timeout,
        read_timeout=config.idle_timeout,
        keep_alive=config.keep_alive,
    )
    async with client:
        openai = HttpProvider(client, OpenAIEndpoint(secrets, config), config)
        yield {
            Azure: HttpProvider(client, AzureEndpoint(secrets, config), config),
            Anthropic: HttpProvider(client, AnthropicEndpoint(secrets, config), config),
            OpenAI: openai,
            Groq: openai,
            Custom: openai,
            Scripted: ScriptedProvider(),
        }
