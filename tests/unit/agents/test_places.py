"""What the providers of clouds demand of how a definition names them."""

from typing import Any

import pytest

from actors.agents.core.checks import check
from schemas.agents import AgentTool
from schemas.problems import Problem
from schemas.providers import Azure, Bedrock, Google, Ollama, Provider
from tests.unit.agents.samples import agent

TOOLS = [AgentTool(name="time")]


def bedrock(model: str = "anthropic.claude-v2", **more: Any) -> Bedrock:
    return Bedrock(model=model, region="us-east-1", **more)


@pytest.mark.parametrize(
    ("provider", "field", "message"),
    [
        (
            bedrock(access_key_id="mine"),
            "provider.secret_access_key",
            "must be named too: the keys come in pairs",
        ),
        (
            bedrock(secret_access_key="mine"),
            "provider.access_key_id",
            "must be named too: the keys come in pairs",
        ),
        (
            bedrock(secret="key", access_key_id="id", secret_access_key="mine"),
            "provider.secret",
            "is an API key: name either that or the access keys",
        ),
        (
            bedrock(session_token="mine"),
            "provider.session_token",
            "belongs to access keys: name those as well",
        ),
        (
            bedrock("meta.llama3-2-1b-instruct-v1:0", api="invoke"),
            "provider.api",
            "invokes models of Anthropic, OpenAI, Nova and Titan only: use converse",
        ),
        (
            bedrock("amazon.titan-text-lite-v1", api="invoke"),
            "tools",
            "cannot be called by this model",
        ),
        (
            Google(model="gemini-3-pro", location="us-east1"),
            "provider.location",
            "is of Vertex AI: name provider.project as well",
        ),
        (Google(model="../x"), "provider.model", "is no name of a model"),
        (Google(model="a//b", project="p"), "provider.model", "is no name of a model"),
        (Google(model="."), "provider.model", "is no name of a model"),
        (bedrock(".."), "provider.model", "is no name of a model"),
        (bedrock("arn:aws:bedrock:us-east-1:1:x/../y"), "provider.model", "is no name of a model"),
        (bedrock("a\\..\\b"), "provider.model", "is no name of a model"),
        (
            Bedrock(model="arn:aws:bedrock:evil.example/#:1:x/y"),
            "provider.model",
            "is no name of a model",
        ),
        (
            Azure(model="gpt-4o", deployment=".."),
            "provider.deployment",
            "is no name of a deployment",
        ),
        (Azure(model="a/../b"), "provider.model", "is no name of a model"),
        (Ollama(model="m", api="generate"), "tools", "cannot be called by provider.api generate"),
    ],
)
def test_a_definition_that_cannot_be_reached_or_spoken_to_is_refused(
    provider: Provider, field: str, message: str
):
    definition = agent(provider=provider, tools=TOOLS)

    assert check(definition) == Problem(code="validation", message=message, field=field)


@pytest.mark.parametrize(
    "provider",
    [
        bedrock(),
        bedrock(secret="key"),
        bedrock(access_key_id="id", secret_access_key="key", session_token="token"),
        bedrock("amazon.nova-micro-v1:0", api="invoke"),
        bedrock("openai.gpt-oss-20b-1:0", api="invoke"),
        bedrock("us.anthropic.claude-sonnet-4-5-v1:0", api="invoke"),
        bedrock("arn:aws:bedrock:eu-west-1:1:application-inference-profile/a1b2", api="invoke"),
        Google(model="gemini-3-pro"),
        Google(model="tunedModels/mine", project="p-1", location="us-east1"),
        Ollama(model="qwen3:8b"),
    ],
)
def test_every_way_to_name_a_cloud_is_taken(provider: Provider):
    assert check(agent(provider=provider, tools=TOOLS)) is None
