"""Names in the paths of URLs: they stay where they are put, or are refused by their field."""

from urllib.parse import quote, unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.providers import Azure, Bedrock, Google, OpenAI, path_fault, region_of

NAME = st.text("abc.:-_%/\\ #?@", min_size=1, max_size=12)


@given(NAME)
def test_a_name_that_is_taken_stays_in_its_place(name: str):
    """Whoever undoes escapes once and puts the path in order still finds it below the base."""
    for provider in (Bedrock(model=name), Google(model=name), Azure(model="m", deployment=name)):
        if path_fault(provider) is None:
            path = unquote(quote(name, safe="/")).split("#")[0].split("?")[0]
            assert urljoin("http://h/", f"/model/{path}/end").startswith("http://h/model/")


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-3-haiku-20240307-v1:0",
        "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        "arn:aws:bedrock:::foundation-model/anthropic.claude-v2:1",
        "arn:aws-cn:bedrock:cn-north-1:123456789012:foundation-model/anthropic.claude-v2:1",
    ],
)
def test_ids_and_arns_of_aws_are_names(model: str):
    assert path_fault(Bedrock(model=model)) is None


def test_a_name_that_stands_in_the_body_alone_may_be_any():
    assert path_fault(OpenAI(model="../x")) is None


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        ("arn:aws:bedrock:us-east-1:1:x/y", "us-east-1"),
        ("arn:aws:bedrock::1:x/y", None),
        ("arn:aws:bedrock:us-east-1", None),
        ("arn:aws:bedrock:evil.example/#:1:x/y", None),
        ("arn:aws:bedrock:us-east-1\n:1:x/y", None),
        ("arn:aws:bedrock:a@b:1:x/y", None),
        ("anthropic.claude-v2:1", None),
    ],
)
def test_the_region_of_an_arn_is_a_region_or_none(arn: str, region: str | None):
    assert region_of(arn) == region
