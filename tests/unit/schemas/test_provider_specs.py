"""What is known of providers stands in one table, from which settings and secrets follow."""

from collections import Counter
from typing import get_args

import pytest

from actors.streaming.adapters.operator_secrets import operator_secrets
from actors.streaming.config import StreamingConfig
from bus.config import load
from bus.config.reference import settings
from schemas.provider_specs import SPECS, ProviderSpec, usual_hosts, usual_urls
from schemas.providers import Provider

SECRETS = [secret for spec in SPECS for secret in spec.secrets]


def by_name(spec: ProviderSpec) -> str:
    return spec.name


def test_every_provider_is_in_the_table_once_and_no_two_secrets_are_one():
    assert Counter(spec.kind for spec in SPECS) == Counter(get_args(Provider))
    assert len({secret.name for secret in SECRETS}) == len(SECRETS)
    assert len({secret.variable for secret in SECRETS}) == len(SECRETS)


@pytest.mark.parametrize("spec", [one for one in SPECS if one.variable], ids=by_name)
def test_an_operator_says_where_a_provider_is_reached_and_its_key_follows(spec: ProviderSpec):
    url = f"https://{spec.name}.example.com/v1"
    environ = {spec.variable or "": url} | {one.variable: "sk-1" for one in spec.secrets}

    config = load(StreamingConfig, environ)
    assert config.urls == usual_urls() | {spec.name: url}
    assert f"base URL of `{spec.name}` agents" in "".join(
        row.meaning for row in settings([StreamingConfig])
    )
    for secret in spec.secrets:
        place = f"https://{secret.hosts[0]}/v1" if secret.hosts else url
        assert operator_secrets(config, environ).resolve(secret.name, place, "acme") == "sk-1"
        assert secret.hosts or f"{spec.name}.example.com" in usual_hosts(config.urls)


def test_what_has_no_address_until_it_is_given_one_takes_no_key():
    assert "azure" not in usual_urls()
    assert "azure" not in repr(
        operator_secrets(StreamingConfig(), {"AZURE_OPENAI_API_KEY": "sk-1"})
    )
    assert usual_hosts(usual_urls()) == {
        "api.openai.com",
        "api.anthropic.com",
        "api.groq.com",
        "generativelanguage.googleapis.com",
        "ollama.com",
    }


def test_every_secret_is_listed_with_the_settings():
    listed = {row.name: row.meaning for row in settings([StreamingConfig])}
    assert [one.name for one in SECRETS if f"`{one.name}`" not in listed[one.variable]] == []
