"""The tables of all settings and constants, for the README and the command line."""

from typing import Any, NamedTuple

from bus.config import timing
from bus.config.settings import FIELDS, Field

BEGIN, END = "<!-- config:begin -->", "<!-- config:end -->"
"""What the README's copy of the reference stands between."""


class Setting(NamedTuple):
    """One row of the reference: a variable, its default as it would be written, and its meaning."""

    name: str
    default: str
    doc: str


READ_AT_USE = (
    Setting("OPENAI_API_KEY", "", "the secret `openai`; read where and when a request is sent"),
    Setting("ANTHROPIC_API_KEY", "", "the secret `anthropic`; likewise"),
    Setting("AZURE_OPENAI_API_KEY", "", "the secret `azure`, for AZURE_OPENAI_ENDPOINT; likewise"),
    Setting("GROQ_API_KEY", "", "the secret `groq`; likewise"),
    Setting("GOOGLE_API_KEY", "", "the secret `google`, for Gemini; likewise"),
    Setting(
        "GOOGLE_APPLICATION_CREDENTIALS",
        "",
        "the secret `vertex`, for Vertex AI: an access token, or a service account's key as the "
        "path of its file or as its JSON in base64; likewise",
    ),
    Setting("AWS_BEARER_TOKEN_BEDROCK", "", "the secret `bedrock`, an API key; likewise"),
    Setting("AWS_ACCESS_KEY_ID", "", "the secret `aws_access_key_id`; likewise"),
    Setting("AWS_SECRET_ACCESS_KEY", "", "the secret `aws_secret_access_key`; likewise"),
    Setting("AWS_SESSION_TOKEN", "", "the secret `aws_session_token`; likewise"),
    Setting("OLLAMA_API_KEY", "", "the secret `ollama`, for ollama.com; likewise"),
)
"""Secrets that no configuration object ever holds: ``bus.secrets`` reads them."""


def settings() -> tuple[Setting, ...]:
    """Return every variable the system reads, in the order of the reference."""
    return (*map(_setting, FIELDS), *READ_AT_USE)


def reference() -> str:
    """Return the table of all settings in Markdown."""
    rows = [(f"`{name}`", f"`{value}`" if value else "", doc) for name, value, doc in settings()]
    return _table(("variable", "default", "meaning"), rows)


def constants() -> str:
    """Return the table of all times and bounds in Markdown."""
    rows = [(f"`{name}`", f"{value:,}", reason) for name, value, reason in timing.rows()]
    return _table(("constant", "value", "reason"), rows)


def readme_block() -> str:
    """Return the reference as it stands in the README, markers included."""
    return f"{BEGIN}\n{reference()}{END}"


def _table(titles: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _setting(field: Field) -> Setting:
    default = ",".join(field.default) if field.several else _written(field.default)
    return Setting(field.env, default, field.doc)


def _written(default: Any) -> str:
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case _:
            return str(default)
