"""What an operator sets reaches the processes that it is about."""

from actors.agents.config import AgentsConfig
from actors.cli.config import CliConfig
from actors.streaming.config import StreamingConfig
from bus.config import load
from schemas.provider_specs import usual_urls

ASKED_FOR = {
    "MAX_CONCURRENT_EXECUTIONS": "7",
    "CONNECT_TIMEOUT": "3",
    "EXECUTION_TIMEOUT": "20",
    "MAX_ATTEMPTS": "3",
    "OPENAI_BASE_URL": "https://openai.example/v1",
    "OLLAMA_BASE_URL": "https://ollama.example",
}


def test_the_defaults_of_the_engine_are_those_that_were_asked_for():
    model_calls, engine = load(StreamingConfig, {}), load(AgentsConfig, {})

    assert (model_calls.max_concurrent, model_calls.connect_timeout) == (50, 30.0)
    assert (engine.execution_timeout, engine.max_attempts) == (300.0, 5)
    assert load(CliConfig, {}).stream_buffer_size == 1000


def test_what_is_set_is_what_the_processes_go_by():
    urls = {"openai": "https://openai.example/v1", "ollama": "https://ollama.example"}

    assert load(StreamingConfig, ASKED_FOR) == StreamingConfig(
        max_concurrent=7, connect_timeout=3.0, urls=usual_urls() | urls
    )
    engine = load(AgentsConfig, ASKED_FOR)
    assert (engine.execution_timeout, engine.max_attempts) == (20.0, 3)
    assert engine.spending_policy.urls == usual_urls() | urls
