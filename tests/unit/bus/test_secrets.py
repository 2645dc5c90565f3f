from pathlib import Path

import pytest

from bus.errors import ConfigError, ProblemError
from bus.security.secrets import HOW, SecretEntry, Secrets
from schemas.problems import Problem
from tests.operator_keys import loaded

KEYS = {
    "OPENAI_API_KEY": "sk-openai-0123456789",
    "ANTHROPIC_API_KEY": "sk-ant-0123456789",
    "GROQ_API_KEY": "gsk-groq-0123456789",
    "MODELS_KEY": "models-0123456789",
}
OPENAI_URL = "https://api.openai.com/v1/chat/completions"


def refusal(secrets: Secrets, name: str, url: str, tenant: str = "acme") -> Problem:
    with pytest.raises(ProblemError) as caught:
        secrets.resolve(name, url, tenant)
    assert not any(key in str(caught.value) + repr(caught.value) for key in KEYS.values())
    return caught.value.problem


def file_of(tmp_path: Path, text: str, name: str = "secrets.yaml") -> dict[str, str]:
    path = tmp_path / name
    path.write_text(text)
    return KEYS | {"CALLBOARD_SECRETS_FILE": str(path)}


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("openai", OPENAI_URL),
        ("anthropic", "https://api.anthropic.com/v1/messages"),
        ("groq", "https://api.groq.com/openai/v1/chat/completions"),
    ],
)
def test_the_keys_of_well_known_providers_go_to_their_own_hosts(name: str, url: str):
    assert loaded(KEYS).resolve(name, url, "acme") == KEYS[f"{name.upper()}_API_KEY"]


def test_the_key_of_azure_goes_to_the_operators_own_resource_and_no_other():
    environ = KEYS | {
        "AZURE_OPENAI_API_KEY": "azure-0123456789",
        "AZURE_OPENAI_ENDPOINT": "https://ours.openai.azure.com/",
    }
    ours, theirs = "https://ours.openai.azure.com/openai", "https://theirs.openai.azure.com/openai"

    assert loaded(environ).resolve("azure", ours, "acme") == "azure-0123456789"
    assert refusal(loaded(environ), "azure", theirs).code == "forbidden"
    assert refusal(loaded(KEYS), "azure", ours).code == "unauthorized"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.groq.com/v1",
        "https://evil.example/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/api.openai.com",
        "https://api.openai.com@evil.example/v1",
        "https:///v1",
    ],
)
def test_a_key_goes_nowhere_else(url: str):
    assert refusal(loaded(KEYS), "openai", url) == Problem(
        code="forbidden",
        message="This secret must not be sent to that host.",
        field="secret",
    )


def test_a_key_never_goes_unencrypted_to_another_machine():
    entry = SecretEntry(env="MODELS_KEY", hosts=("models.example", "127.0.0.1:8080", "localhost"))
    secrets = Secrets({"models": entry}, KEYS)

    assert refusal(secrets, "models", "http://models.example/v1") == Problem(
        code="forbidden",
        message="A secret is only sent over https, or to this machine.",
        field="secret",
    )
    for url in ("https://models.example/v1", "http://127.0.0.1:8080", "http://localhost:99/v1"):
        assert secrets.resolve("models", url, "acme") == KEYS["MODELS_KEY"]
    assert refusal(secrets, "models", "http://127.0.0.1:8081").code == "forbidden"


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("Models.Example", "https://models.example/v1", True),
        ("models.example", "https://models.example:8443/v1", True),
        ("models.example:8443", "https://models.example/v1", False),
        ("*.models.example", "https://eu.models.example/v1", True),
        ("*.models.example", "https://models.example/v1", False),
        ("*.models.example", "https://evilmodels.example/v1", False),
        ("[::1]:8080", "http://[::1]:8080/v1", True),
        ("::1", "http://[::1]:8080/v1", True),
        ("api.*.example.com", "https://api.eu.example.com/v1", True),
        ("api.*.example.com", "https://api.eu.west.example.com/v1", False),
        ("api.*.example.com", "https://api.example.com/v1", False),
        ("api.*.example.com", "https://api.eu.example.com.evil.org/v1", False),
        ("api.*.example.com", "https://evil.api.eu.example.com/v1", False),
    ],
)
def test_an_entry_names_hosts_with_or_without_port_or_below_a_domain(
    pattern: str, url: str, fits: bool
):
    secrets = Secrets({"models": SecretEntry(env="MODELS_KEY", hosts=(pattern,))}, KEYS)

    if fits:
        assert secrets.resolve("models", url, "acme") == KEYS["MODELS_KEY"]
    else:
        assert refusal(secrets, "models", url).code == "forbidden"


@pytest.mark.parametrize(
    ("name", "variable", "url"),
    [
        ("google", "GOOGLE_API_KEY", "https://generativelanguage.googleapis.com/v1beta/x"),
        ("ollama", "OLLAMA_API_KEY", "https://ollama.com/api/chat"),
        (
            "vertex",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "https://us-east1-aiplatform.googleapis.com/v1beta1",
        ),
        (
            "vertex",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "https://aiplatform.eu.rep.googleapis.com/v1/projects",
        ),
        ("vertex", "GOOGLE_APPLICATION_CREDENTIALS", "https://aiplatform.googleapis.com/v1/x"),
        ("bedrock", "AWS_BEARER_TOKEN_BEDROCK", "https://bedrock-runtime.eu-west-1.amazonaws.com/"),
        ("aws_access_key_id", "AWS_ACCESS_KEY_ID", "https://bedrock-runtime.a.amazonaws.com.cn/"),
        (
            "aws_secret_access_key",
            "AWS_SECRET_ACCESS_KEY",
            "https://bedrock-runtime.x.amazonaws.com",
        ),
        ("aws_session_token", "AWS_SESSION_TOKEN", "https://bedrock-runtime.x.amazonaws.com/model"),
    ],
)
def test_the_keys_of_clouds_go_to_their_own_hosts_in_every_region(
    name: str, variable: str, url: str
):
    secrets = loaded({variable: "key-0123456789"})

    assert secrets.holds(name, "acme")
    assert secrets.resolve(name, url, "acme") == "key-0123456789"
    for elsewhere in ("https://example.com/", "https://bedrock.elb.amazonaws.com/"):
        assert refusal(secrets, name, elsewhere).code == "forbidden"


def test_a_secret_is_held_where_it_has_a_value_and_may_serve_the_tenant():
    entry = SecretEntry(env="OPENAI_API_KEY", hosts=("a.example.com",), tenants=("acme",))
    unset = SecretEntry(env="NOWHERE", hosts=("a.example.com",))
    secrets = Secrets({"ours": entry, "unset": unset}, KEYS)

    assert secrets.holds("ours", "acme")
    assert not secrets.holds("ours", "globex")
    assert not secrets.holds("unset", "acme")
    assert not secrets.holds("unheard", "acme")
    assert secrets.names() == ["ours"]


def test_openais_key_follows_the_operators_base_url():
    secrets = loaded(KEYS | {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"})

    url = "http://127.0.0.1:8080/v1/chat/completions"
    assert secrets.resolve("openai", url, "acme") == KEYS["OPENAI_API_KEY"]
    assert refusal(secrets, "openai", OPENAI_URL).code == "forbidden"


def test_a_tenant_cannot_tell_anothers_secret_from_none(tmp_path: Path):
    text = "models: {env: MODELS_KEY, hosts: [models.example], tenants: [acme]}"
    secrets = loaded(file_of(tmp_path, text))
    url = "https://models.example/v1"

    assert secrets.resolve("models", url, "acme") == KEYS["MODELS_KEY"]
    assert refusal(secrets, "models", url, "globex") == Problem(
        code="unauthorized",
        message=f"There is no secret named models here: {HOW}",
        field="secret",
    )
    assert refusal(secrets, "other", url, "globex").code == "unauthorized"


def test_the_file_may_be_json_and_replaces_what_is_built_in(tmp_path: Path):
    text = '{"openai": {"env": "MODELS_KEY", "hosts": ["models.example"]}}'
    secrets = loaded(file_of(tmp_path, text, "secrets.json"))

    assert secrets.resolve("openai", "https://models.example", "acme") == KEYS["MODELS_KEY"]
    assert refusal(secrets, "openai", OPENAI_URL).code == "forbidden"


def test_a_key_is_read_when_it_is_used():
    environ = dict(KEYS)
    secrets = loaded(environ)
    environ["OPENAI_API_KEY"] = "sk-rotated\n"

    assert secrets.resolve("openai", OPENAI_URL, "acme") == "sk-rotated"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_its_variable(value: str | None):
    environ = {} if value is None else {"OPENAI_API_KEY": value}

    assert refusal(loaded(environ), "openai", OPENAI_URL) == Problem(
        code="unauthorized",
        message="The secret openai is not set: OPENAI_API_KEY is empty.",
        field="secret",
    )


@pytest.mark.parametrize("value", ["two words", "sk-x\r\nx-admin: 1", "sk-ключ"])
def test_what_cannot_stand_in_a_header_is_no_key(value: str):
    problem = refusal(loaded({"OPENAI_API_KEY": value}), "openai", OPENAI_URL)

    assert problem.code == "unauthorized"
    assert value not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "models: {env: MODELS_KEY}",
        "models: {env: MODELS_KEY, hosts: []}",
        "models: {env: MODELS_KEY, hosts: [x], key: sk-1}",
        "models: {env: 'MODELS KEY', hosts: [x]}",
        "models: {env: MODELS_KEY, hosts: ['*']}",
        "models: {env: MODELS_KEY, hosts: [x], tenants: [a.b]}",
        "a.b: {env: MODELS_KEY, hosts: [x]}",
        "- models",
        "{",
    ],
)
def test_a_malformed_file_refuses_the_start(tmp_path: Path, text: str):
    with pytest.raises(ConfigError, match="CALLBOARD_SECRETS_FILE"):
        loaded(file_of(tmp_path, text))


def test_a_missing_file_refuses_the_start(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read"):
        loaded({"CALLBOARD_SECRETS_FILE": str(tmp_path / "nowhere.yaml")})


def test_a_map_shows_names_only():
    entry = SecretEntry(env="OPENAI_API_KEY", hosts=("api.openai.com",))

    assert repr(Secrets({"openai": entry, "azure": entry}, KEYS)) == "Secrets(azure, openai)"
