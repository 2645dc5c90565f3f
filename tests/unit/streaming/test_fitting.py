from typing import Any

from actors.streaming.core.fitting import Fitted, fit
from schemas.llm import AnswerWarning, ChatMessage, GenerateRequest, ImageUrl, ModelConfig
from schemas.problems import Problem
from schemas.providers import Anthropic, OpenAI, Provider

HELLO = [ChatMessage(role="user", content="Hello")]


def request(provider: Provider, **settings: Any) -> GenerateRequest:
    return GenerateRequest(provider=provider, messages=HELLO, config=ModelConfig(**settings))


def test_a_request_that_fits_is_sent_as_it_is():
    fitting = request(OpenAI(model="gpt-4o"), temperature=0.5)

    assert fit(fitting) == Fitted(fitting)


def test_what_a_model_refuses_is_refused_before_it_is_sent():
    asked = request(OpenAI(model="gpt-5"), temperature=0.5)

    assert fit(asked).problem == Problem(
        code="validation",
        message="gpt-5 takes no temperature but 1",
        field="config.temperature",
    )


def test_what_a_model_refuses_is_left_out_with_a_warning_where_that_is_wished():
    provider = Anthropic(model="claude-3-haiku", api_version="2023-06-01")
    asked = request(provider, temperature=1.5, seed=7, max_tokens=9, unsupported="drop")

    fitted = fit(asked)

    assert fitted.problem is None
    assert fitted.request == request(provider, temperature=1.0, max_tokens=9, unsupported="drop")
    assert set(fitted.warnings) == {
        AnswerWarning(
            field="config.temperature",
            message="claude-3-haiku takes a temperature of at most 1: 1.0 was sent",
        ),
        AnswerWarning(field="config.seed", message="claude-3-haiku takes no seed: it was left out"),
    }


def test_an_image_for_a_model_that_sees_none_is_refused():
    picture = ChatMessage(role="user", content=[ImageUrl(url="https://example.com/a.png")])
    asked = GenerateRequest(provider=OpenAI(model="gpt-3.5-turbo"), messages=[picture])

    assert fit(asked).problem == Problem(
        code="validation", message="gpt-3.5-turbo sees no images", field="messages.0"
    )
