from typing import Any, Literal

import pytest

from actors.streaming.core.writing.fitting import Fitted, fit
from schemas.llm import (
    AnswerWarning,
    ChatMessage,
    GenerateRequest,
    ImageUrl,
    ModelConfig,
    ProviderBlock,
)
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


DOCUMENT = ProviderBlock(wire="anthropic", raw={"type": "document", "source": {}})
THOUGHT = ProviderBlock(wire="anthropic", raw={"type": "thinking", "signature": "s"})
ANOTHERS = ProviderBlock(wire="gemini", raw={"type": "document"})


def turn(*blocks: ProviderBlock) -> ChatMessage:
    return ChatMessage(role="assistant", content="Hi", blocks=list(blocks))


@pytest.mark.parametrize(("unsupported", "is_sent"), [("refuse", False), ("drop", True)])
def test_a_document_in_an_assistants_turn_is_for_the_older_version_alone(
    unsupported: Literal["refuse", "drop"], is_sent: bool
):
    turns = [*HELLO, turn(THOUGHT, DOCUMENT, ANOTHERS), *HELLO]
    config = ModelConfig(unsupported=unsupported)
    newest = Anthropic(model="m", api_version="2026-10-21")
    older = Anthropic(model="m", api_version="2023-06-01")
    asked = GenerateRequest(provider=newest, messages=turns, config=config)
    before = GenerateRequest(provider=older, messages=turns, config=config)
    reason = "m takes no document in an assistant's message under anthropic-version 2026-10-21"

    fitted = fit(asked)

    assert fit(before) == Fitted(before)
    if is_sent:
        assert fitted.request.messages == [*HELLO, turn(THOUGHT, ANOTHERS), *HELLO]
        warning = AnswerWarning(field="messages.1.blocks.1", message=f"{reason}: it was left out")
        assert fitted.warnings == (warning,)
    else:
        assert fitted.problem == Problem(
            code="validation", message=reason, field="messages.1.blocks.1"
        )


def test_what_is_left_of_extra_fields_is_not_told():
    provider = Anthropic(model="m", api_version="2026-10-21")
    asked = request(provider, extra={"top_p": 1, "x": "secret"}, unsupported="drop")

    fitted = fit(asked)

    assert fitted.request.config.extra == {"x": "secret"}
    assert [warning.field for warning in fitted.warnings] == ["config.extra"]
    assert "secret" not in str(fitted.warnings)


def test_an_image_for_a_model_that_sees_none_is_refused():
    picture = ChatMessage(role="user", content=[ImageUrl(url="https://example.com/a.png")])
    asked = GenerateRequest(provider=OpenAI(model="gpt-3.5-turbo"), messages=[picture])

    assert fit(asked).problem == Problem(
        code="validation", message="gpt-3.5-turbo sees no images", field="messages.0"
    )
