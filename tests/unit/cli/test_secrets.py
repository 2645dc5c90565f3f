"""The file of secrets: what the command shows is a file that is taken."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from actors.cli.commands import main
from bus import files
from bus.errors import ProblemError
from bus.security.secrets import SecretEntry, Secrets


def run(*line: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["config", "secrets", *line])
    assert done.exit_code == code, done.output
    return done.output


def test_the_example_is_a_file_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "secrets.yaml"
    file.write_text(run("--example"), encoding="utf-8")
    monkeypatch.setenv("TEAM_A_KEY", "sk-0123456789")

    listed = run(str(file))

    assert "TEAM_A_KEY" in listed
    assert "sk-0123456789" not in listed
    entries = files.of(file, dict[str, SecretEntry])
    secrets = Secrets(entries, {"TEAM_A_KEY": "sk-0123456789"})
    assert secrets.resolve("team-a", "https://api.openai.com/v1", "anybody") == "sk-0123456789"


def test_what_is_wrong_with_a_file_is_named(tmp_path: Path):
    file = tmp_path / "secrets.yaml"
    file.write_text("a: {env: A-B, hosts: [x]}", encoding="utf-8")

    assert "must be the name of an environment variable" in run(str(file), code=1)


def test_a_secret_that_is_missing_names_the_cure():
    with pytest.raises(ProblemError) as refused:
        Secrets({}, {}).resolve("none", "https://api.openai.com/v1", "local")

    assert "`callboard config secrets`" in refused.value.problem.message
    assert "secrets.yaml" not in run("--example")
