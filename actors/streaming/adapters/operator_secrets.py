"""The secrets of the operator: those of well-known providers, and over them those of his file."""

import os
from collections.abc import Mapping

from actors.streaming.config import StreamingConfig
from bus.security.secrets import SecretEntry, Secrets
from schemas.provider_specs import secret_hosts


def operator_secrets(config: StreamingConfig, environ: Mapping[str, str] = os.environ) -> Secrets:
    """Return the map of secrets; their values are looked up in ``environ`` when they are sent.

    Raises:
        ConfigError: the operator's file cannot be read or says something else.
    """
    usual = {
        secret.name: SecretEntry(env=secret.variable, hosts=hosts)
        for secret, hosts in secret_hosts(config.urls)
    }
    return Secrets.load(usual, config.secrets_file, environ)
