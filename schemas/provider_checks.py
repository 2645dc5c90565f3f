"""What each kind of provider demands of how a definition names it, beyond the types. Pure.

Each check returns the offending field and a sentence about it, None if there is nothing wrong.
"""

from schemas.providers import Bedrock, Google, Ollama, family_of

Fault = tuple[str, str] | None


def bedrock_check(provider: Bedrock, *, tools: bool) -> Fault:
    """Check that the credentials belong together and the format fits the model."""
    return _bedrock_keys(provider) or _bedrock_format(provider, tools=tools)


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


def _bedrock_format(provider: Bedrock, *, tools: bool) -> Fault:
    if provider.api == "invoke" and family_of(provider.model) is None:
        return (
            "provider.api",
            "invokes models of Anthropic, OpenAI, Nova and Titan only: use converse",
        )
    if tools and provider.api == "invoke" and "titan" in provider.model:
        return "tools", "cannot be called by this model"
    return None


def google_check(provider: Google, *, tools: bool) -> Fault:
    """Check that no location is named without Vertex AI, which alone has them."""
    del tools
    if provider.project is None and provider.location != "global":
        return "provider.location", "is of Vertex AI: name provider.project as well"
    return None


def ollama_check(provider: Ollama, *, tools: bool) -> Fault:
    """Check that ``generate``, which takes one prompt, has no tools."""
    if tools and provider.api == "generate":
        return "tools", "cannot be called by provider.api generate"
    return None
