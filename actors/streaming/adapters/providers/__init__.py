"""The providers by the type that a definition names. A new one is a module and a line below."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import msgspec

from actors.streaming.adapters.google_tokens import GoogleTokens
from actors.streaming.adapters.http import build_client
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.providers.anthropic import AnthropicEndpoint
from actors.streaming.adapters.providers.azure import AzureEndpoint
from actors.streaming.adapters.providers.base import ModelProvider
from actors.streaming.adapters.providers.bedrock import BedrockEndpoint
from actors.streaming.adapters.providers.google import GoogleEndpoint
from actors.streaming.adapters.providers.ollama import OllamaEndpoint
from actors.streaming.adapters.providers.openai import OpenAIEndpoint
from actors.streaming.adapters.providers.scripted import ScriptedProvider
from actors.streaming.config import StreamingConfig
from bus.egress import Egress
from bus.jetstream.bus import system_clock
from bus.ports import Clock
from bus.secrets import Secrets
from schemas.providers import (
    Anthropic,
    Azure,
    Bedrock,
    Custom,
    Google,
    Groq,
    Ollama,
    OpenAI,
    Provider,
    Scripted,
)

Providers = Mapping[type[Provider], ModelProvider]


@asynccontextmanager
async def open_providers(
    config: StreamingConfig, egress: Egress, secrets: Secrets, clock: Clock = system_clock
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
        google = GoogleEndpoint(secrets, config, GoogleTokens(client, clock))
        patient = msgspec.structs.replace(config, first_byte_timeout=config.cold_start_timeout)
        yield {
            Azure: HttpProvider(client, AzureEndpoint(secrets, config), config),
            Anthropic: HttpProvider(client, AnthropicEndpoint(secrets, config), config),
            Bedrock: HttpProvider(client, BedrockEndpoint(secrets, config, clock), config),
            Google: HttpProvider(client, google, config),
            Ollama: HttpProvider(client, OllamaEndpoint(secrets, config), patient),
            OpenAI: openai,
            Groq: openai,
            Custom: openai,
            Scripted: ScriptedProvider(),
        }
