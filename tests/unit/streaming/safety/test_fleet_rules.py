"""The operator's rules, which hold for every call whatever an agent says."""

from pathlib import Path

import pytest

from actors.streaming.adapters.safety_file import load
from actors.streaming.core.safety.intake import under
from bus.errors import ConfigError
from schemas.policy import Cache, Policy
from schemas.safety import Moderation, Safety, SafetyRule

FLEETS = SafetyRule(name="fleet", outcome="blocked", words=["bluebird"])
OWN = SafetyRule(name="own", outcome="flagged", words=["bird"])
JUDGED = Moderation(categories={"violence": 0.5})


def test_the_fleets_rules_come_before_an_agents_own():
    policy = Policy(cache=Cache(), safety=Safety(rules=[OWN], moderation=JUDGED))

    assert under(policy, Safety(rules=[FLEETS])) == Policy(
        cache=Cache(), safety=Safety(rules=[FLEETS, OWN], moderation=JUDGED)
    )
    assert under(Policy(), Safety(rules=[FLEETS])).safety == Safety(rules=[FLEETS])


def test_an_agent_cannot_replace_the_fleets_judge():
    lenient = Policy(safety=Safety(moderation=Moderation(categories={"violence": 1.0})))

    assert under(lenient, Safety(moderation=JUDGED)).safety == Safety(moderation=JUDGED)


def test_without_rules_of_the_fleet_a_policy_stays_as_it_is():
    policy = Policy(safety=Safety(rules=[OWN]))

    assert under(policy, None) is policy


def test_the_file_is_yaml_or_json(tmp_path: Path):
    yaml, json = tmp_path / "rules.yaml", tmp_path / "rules.json"
    yaml.write_text("rules: [{name: fleet, outcome: blocked, words: [bluebird]}]")
    json.write_text('{"rules":[{"name":"fleet","outcome":"blocked","words":["bluebird"]}]}')

    assert load(yaml) == load(json) == Safety(rules=[FLEETS])


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{name: r, outcome: shouted, words: [x]}]",
        "rules: [{name: r, outcome: blocked, pattern: x}]",
        "rules: [{name: r, outcome: blocked, patterns: ['a*']}]",
        "rules: [",
    ],
)
def test_a_file_that_says_something_else_keeps_the_process_from_starting(tmp_path: Path, text: str):
    path = tmp_path / "rules.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match="CALLBOARD_SAFETY_FILE"):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere"):
        load(tmp_path / "nowhere.yaml")
