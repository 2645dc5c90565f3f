"""Mistakes that anybody could make, and the tests that notice them: ``make mutants``.

Each is planted in a copy of the tree, where the tests named must fail; they pass there without it.
``python -m tests.mutants WORD …`` plants only those with a word in their names.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SECONDS = 180
COPIED = ("actors", "bus", "deploy", "schemas", "tests", "pyproject.toml", "requirements.lock")
FAILED = 1
"""What pytest exits with when tests have failed, and only then."""


class Mutant(NamedTuple):
    """A mistake: in ``file``, ``text`` is replaced ``by`` something else; ``tests`` notice it."""

    name: str
    file: str
    text: str
    by: str
    tests: str


PROCESSES = "tests/integration/test_processes.py"
SETTINGS = "tests/integration/test_operator_settings.py"
METRICS = f"{PROCESSES}::test_an_execution_shows_in_the_metrics_of_those_who_worked_on_it"
LEAVING = (
    f"{PROCESSES}::"
    "test_a_process_that_is_told_to_stop_writes_its_answers_to_their_end_and_takes_no_more"
)
BUSY = f"{PROCESSES}::test_answers_under_way_are_counted_and_an_agent_is_busy_meanwhile"
KEYS = "tests/unit/streaming/test_operator_keys.py"
SENT = f"{KEYS}::test_the_operators_key_is_sent_to_its_providers_own_host"
ADDRESS = f"{KEYS}::test_the_operators_address_is_asked_with_a_key_that_is_not_for_other_hosts"
LIMITS = "tests/unit/pricing/test_effect_of_settings.py"
EXPIRY = (
    "tests/contract/test_streams.py::test_what_is_over_expires_so_many_seconds_after_it_was_stored"
)
ANSWERS = "tests/unit/bus/test_endpoint_answers.py"
METER = "actors/streaming/adapters/meter.py"
PROVIDERS = "actors/streaming/adapters/providers"

MUTANTS = (
    Mutant(
        "a grant that has lapsed is taken",
        "bus/fairness/places.py",
        "or now >= kept[1]",
        "",
        "tests/unit/bus/test_places.py",
    ),
    Mutant(
        "places go to whoever has waited longest, however many it has",
        "bus/fairness/places.py",
        "return self._turns.running_of(wish.tenant), wish.since",
        "return 0, wish.since",
        "tests/unit/bus/test_places.py",
    ),
    Mutant(
        "a tenant whose work hangs takes the places of all",
        "bus/fairness/turns.py",
        "free = min(1, free + self._reserved)",
        "free = 0",
        "tests/unit/bus/test_worker.py::test_a_tenant_whose_work_hangs_stops_no_other",
    ),
    Mutant(
        "a process is always ready",
        "bus/runtime/process.py",
        "listening(runtime.not_ready_reasons,",
        "listening(list,",
        LEAVING,
    ),
    Mutant(
        "answers under way are dropped by a process that stops",
        "bus/actor/parts.py",
        'yield Part.of(f"{job.queue} work", PartKind.WORKER, worker)',
        "yield Part(name=job.queue, run=worker.run, not_ready_reason=worker.not_ready_reason)",
        LEAVING,
    ),
    Mutant(
        "shards are not given back by a process that stops",
        "bus/actor/parts.py",
        'yield Part.of(f"shards of {entity.name}", PartKind.HOST, host)',
        "yield Part(name=entity.name, run=host.run, not_ready_reason=host.not_ready_reason)",
        f"{PROCESSES}::test_a_process_that_is_told_to_stop_gives_its_shards_back",
    ),
    Mutant(
        "no processor time is told",
        "bus/runtime/process.py",
        "cpu_percent=self.load.cpu_percent()",
        "cpu_percent=0.0",
        f"{PROCESSES}::test_every_process_tells_what_processor_time_it_uses",
    ),
    Mutant("open streams are not counted", METER, "self._open.inc()", "self._open.inc(0)", BUSY),
    Mutant("tokens are not counted", METER, "kind).inc(tokens)", "kind).inc(0)", METRICS),
    Mutant("deltas are not counted", METER, ".inc(self._events)", ".inc(0)", METRICS),
    Mutant(
        "the first delta is not timed",
        METER,
        '            self._observe("first_delta")\n',
        "",
        METRICS,
    ),
    Mutant(
        "agents.list says that nobody is busy",
        "actors/agents/actor.py",
        "activities.get(agent, Activity())",
        'activities.get("", Activity())',
        BUSY,
    ),
    Mutant(
        "agents.get says what is stored",
        "actors/agents/actor.py",
        "status=status_of(agent.status, activity)",
        "status=agent.status",
        BUSY,
    ),
    Mutant(
        "EXECUTION_TIMEOUT is ignored",
        "actors/agents/config.py",
        'env("EXECUTION_TIMEOUT"',
        'env("NO_TIMEOUT"',
        f"{SETTINGS}::test_an_execution_of_an_agent_that_names_no_time_ends_when_the_operators_is_over",
    ),
    Mutant(
        "the time of an agent that names none is fixed",
        "actors/agents/actor.py",
        "timeout = agent.limits.timeout_seconds or self._config.execution_timeout",
        "timeout = agent.limits.timeout_seconds or 300.0",
        f"{SETTINGS}::test_an_execution_of_an_agent_that_names_no_time_ends_when_the_operators_is_over",
    ),
    Mutant(
        "MAX_ATTEMPTS is ignored",
        "actors/agents/actor.py",
        "max_attempts=agent.limits.max_attempts or self._config.max_attempts",
        "max_attempts=agent.limits.max_attempts or 5",
        f"{SETTINGS}::test_a_step_of_an_agent_that_names_no_attempts_is_tried_as_often_as_the_operator_says",
    ),
    Mutant(
        "MAX_CONCURRENT_EXECUTIONS bounds nothing",
        "bus/actor/parts.py",
        "            capacity=places,",
        "            capacity=50,",
        f"{SETTINGS}::test_a_process_generates_so_many_answers_at_once_and_no_more",
    ),
    Mutant(
        "CALLBOARD_SAFETY_FILE is not read",
        "actors/streaming/actor.py",
        "safety_file.load(Path(config.safety_file)) if config.safety_file else None",
        "safety_file.load(Path(config.safety_file)) if config.safety_file == '-' else None",
        f"{SETTINGS}::test_the_operators_safety_rules_hold_for_an_agent_without_any",
    ),
    Mutant(
        "COST_BUDGET_ALERT_THRESHOLD is ignored",
        "actors/pricing/config.py",
        "int(dollars * DOLLAR)",
        "int(100 * DOLLAR)",
        LIMITS,
    ),
    Mutant(
        "USAGE_LIMIT_REQUESTS_PER_HOUR is ignored",
        "actors/pricing/config.py",
        ", requests_per_hour=limits.requests_per_hour",
        "",
        LIMITS,
    ),
    Mutant(
        "the limiter knows no hours",
        "actors/pricing/core/limits.py",
        '("requests_per_hour", limits.requests_per_hour, meter.hour,',
        '("requests_per_hour", None, meter.hour,',
        LIMITS,
    ),
    Mutant(
        "agents do not ask for leave under the operator's limits",
        "actors/agents/actor.py",
        "return (Restriction(),) if config.limits.hold() else ()",
        "return ()",
        "tests/integration/test_spending_attacks.py::test_a_new_limit_of_the_operator_reaches_an_account_that_stands",
    ),
    Mutant(
        "streams do not expire",
        "bus/streams/spec.py",
        "            max_age=timing.stream_retention_seconds,\n",
        "",
        EXPIRY,
    ),
    Mutant(
        "no stream expires",
        "bus/streams/spec.py",
        '"max_age": _nanoseconds(self.max_age)',
        '"max_age": 0',
        EXPIRY,
    ),
    Mutant(
        "STREAM_BUFFER_SIZE is ignored",
        "actors/cli/executions.py",
        "size = session.config.stream_buffer_size",
        "size = 1000",
        "tests/unit/cli/test_effect_of_settings.py",
    ),
    Mutant(
        "what a handler raises is told to the caller",
        "bus/requests/service.py",
        'message=f"{name} failed"',
        'message=f"{name} failed: {error}"',
        ANSWERS,
    ),
    Mutant(
        "what a core raises is told to the caller",
        "bus/shard/turn.py",
        'reason = f"{type(error).__name__} in decide"',
        'reason = f"{error!r} in decide"',
        "tests/unit/bus/test_turn.py",
    ),
    Mutant(
        "a caller may ask everything",
        "bus/requests/service.py",
        "refused = self.oversize(len(data)) or self.forbidden(caller)",
        "refused = self.oversize(len(data))",
        ANSWERS,
    ),
    Mutant(
        "a request may have any size",
        "bus/requests/service.py",
        "refused = self.oversize(len(data)) or self.forbidden(caller)",
        "refused = self.forbidden(caller)",
        ANSWERS,
    ),
    Mutant(
        "a cancelled waiter keeps the turn that it is given",
        "bus/fairness/slices.py",
        "            if not mine.cancelled():\n",
        "            if mine.cancelled():\n",
        "tests/unit/bus/test_slices.py",
    ),
    Mutant(
        "CALLBOARD_LAPSED_HOLDS is ignored",
        "actors/pricing/config.py",
        'books_lapsed=config.lapsed_holds == "book"',
        "books_lapsed=True",
        LIMITS,
    ),
    Mutant(
        "CALLBOARD_LEDGER_MEMORY_DAYS is ignored",
        "actors/pricing/config.py",
        "        memory_days=config.ledger_memory_days,\n",
        "",
        LIMITS,
    ),
    Mutant(
        "CONNECT_TIMEOUT is ignored",
        f"{PROVIDERS}/__init__.py",
        "connect_timeout=config.connect_timeout",
        "connect_timeout=30.0",
        f"{KEYS}::test_a_provider_has_as_long_to_connect_as_the_operator_says",
    ),
    Mutant(
        "AWS_REGION is ignored",
        f"{PROVIDERS}/bedrock.py",
        "or self._config.aws_region",
        'or "us-east-1"',
        f"{KEYS}::test_bedrock_is_signed_for_with_the_operators_keys",
    ),
    Mutant(
        "the operator's address of a provider is ignored",
        "actors/streaming/adapters/http_endpoint.py",
        "usual = self._config.urls.get(spec.name)",
        "usual = spec.url",
        ADDRESS,
    ),
    Mutant(
        "`prices refresh` puts no book in force",
        "actors/cli/prices.py",
        "_change(session, lambda store: store.refresh(book))",
        "_change(session, lambda store: store.current())",
        "tests/integration/test_prices.py::test_a_new_base_keeps_the_rows_of_ones_own_over_it",
    ),
    Mutant(
        "the operator's key is used of none that is as its spec says",
        "actors/streaming/adapters/http_endpoint.py",
        "first.name if urlsplit(url).netloc in hosts else None",
        "None",
        SENT,
    ),
    *(
        Mutant(f"the operator's key of {name} is not used", f"{PROVIDERS}/{file}", text, by, tests)
        for name, file, text, by, tests in (
            (
                "Vertex AI",
                "google.py",
                '"vertex", provider.base_url',
                "None, provider.base_url",
                SENT,
            ),
            (
                "AWS",
                "bedrock.py",
                "self._resolved(provider, SECRET_ACCESS_KEY, provider",
                "self._resolved(provider, None, provider",
                f"{KEYS}::test_bedrock_is_signed_for_with_the_operators_keys",
            ),
            (
                "Bedrock",
                "bedrock.py",
                "        return self._resolved(provider, name, provider.secret, context)",
                "        return self._resolved(provider, None, provider.secret, context)",
                f"{KEYS}::test_the_operators_api_key_of_bedrock_goes_before_the_keys_that_sign",
            ),
        )
    ),
)


def is_noticed(mutant: Mutant, tree: Path) -> bool:
    """Plant a mistake in a copy of the tree, run the tests that must notice, and take it back."""
    file = tree / mutant.file
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound.replace(mutant.text, mutant.by), encoding="utf-8")
    try:
        return outcome(tree, mutant.tests) == FAILED
    finally:
        file.write_text(sound, encoding="utf-8")


def outcome(tree: Path, *tests: str, shown: bool = False) -> int:
    """Run tests in a copy of the tree; return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tree, env=environ, check=False, timeout=SECONDS, capture_output=not shown
    )
    return done.returncode


def main() -> int:
    """Plant one after another; 1 if a mistake goes unnoticed."""
    words = sys.argv[1:]
    chosen = [each for each in MUTANTS if not words or any(word in each.name for word in words)]
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / name)
        if outcome(tree, *sorted({mutant.tests for mutant in chosen}), shown=True):
            print("the tests fail without a mistake")
            return 1
        unnoticed = [mutant for mutant in chosen if not told(mutant, is_noticed(mutant, tree))]
    print(f"{len(chosen)} mistakes, {len(unnoticed)} unnoticed")
    return 1 if unnoticed else 0


def told(mutant: Mutant, noticed: bool) -> bool:
    """Tell of a mistake, and pass on whether it was noticed."""
    print(f"{'noticed' if noticed else 'UNNOTICED':<10} {mutant.name}", flush=True)
    return noticed


if __name__ == "__main__":
    sys.exit(main())
