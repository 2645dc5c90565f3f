"""The secrets of a streaming process in a test."""

from collections.abc import Mapping

from actors.streaming.adapters.operator_secrets import operator_secrets
from actors.streaming.config import StreamingConfig
from bus.config import load
from bus.security.secrets import Secrets


def loaded(environ: Mapping[str, str]) -> Secrets:
    """Return the secrets of a process with this environment."""
    return operator_secrets(load(StreamingConfig, environ), environ)
