"""What the providers demand of how a definition names them, beyond the types.

Each function returns the offending field and a sentence about it, None if there is nothing wrong.
"""

from schemas.agents import AgentDefinition
from schemas.providers import Bedrock, Google, Ollama, family_of, path_fault

Fault = tuple[str, str] | None


def place_fault(definition: AgentDefinition) -> Fault:
    """Check the provider that a definition names, by the provider's own rules."""
    left = path_fault(definition.provider)
    if left is not None:
        return f"provider.{left}", f"is no name of a {left}"
    match definition.provider:
        case Bedrock() as provider:
            return _bedrock_keys(provider) or _bedrock_format(provider, definition)
        case Google() as provider:
            return _google(provider)
        case Ollama(api="generate") if definition.tools:
            return "tools", "cannot be called by provider.api generate"
        case _:
            return None


def _bedrock_keys(provider: Bedrock) -> Fault:
    """Either an API key, or a pair of keys and maybe a session token, or the operator's own."""
    if (provider.access_key_id is None) != (provider.secret_access_key is None):
        missing = "access_key_id" if provider.access_key_id is None else "secret_access_key"
        return f"provider.{missing}", "must be named too: the keys come in pairs"
    if provider.secret is not None and provider.access_key_id is not None:
        return "provider.secret", "is an API key: name either that or the access keys"
    if provider.session_token is not None and provider.access_key_id is None:
        return "provider.session_token", "belongs to access keys: name those as well"
    return None


def _bedrock_format(provider: Bedrock, definition: AgentDefinition) -> Fault:
    if provider.api == "invoke" and family_of(provider.model) is None:
        return (
            "provider.api",
            "invokes models of Anthropic, OpenAI, Nova and Titan only: use converse",
        )
    if definition.tools and provider.api == "invoke" and "titan" in provider.model:
        return "tools", "cannot be called by this model"
    return None


def _google(provider: Google) -> Fault:
    if provider.project is None and provider.location != "global":
        return "provider.location", "is of Vertex AI: name provider.project as well"
    return None
