"""What an operator sets reaches the processes that it is about."""

from actors.agents import config as agents
from actors.streaming import config as streaming
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
    config = load({})
    model_calls, engine = streaming.settings(config), agents.settings(config)

    assert (model_calls.max_concurrent, model_calls.connect_timeout) == (50, 30.0)
    assert (engine.execution_timeout, engine.max_attempts) == (300.0, 5)
    assert config.stream_buffer_size == 1000


def test_what_is_set_is_what_the_processes_go_by():
    config = load(ASKED_FOR)

    assert streaming.settings(config) == StreamingConfig(
        max_concurrent=7,
        connect_timeout=3.0,
        urls=usual_urls()
        | {"openai": "https://openai.example/v1", "ollama": "https://ollama.example"},
    )
    engine = agents.settings(config)
    assert (engine.execution_timeout, engine.max_attempts) == (20.0, 3)
