import string
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.agents.core.template import MAX_RENDERED_CHARACTERS, render
from schemas.problems import Problem

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        pytest.param("{task}", "read", id="a variable"),
        pytest.param("a {task} b {task}", "a read b read", id="twice"),
        pytest.param("{count} {items}", '3 [1,"b",null]', id="other values are compact JSON"),
        pytest.param("{{task}}", "{task}", id="doubled braces are the name itself"),
        pytest.param("{{nobody}}", "{nobody}", id="doubled braces around an unknown name too"),
        pytest.param('{"a": 1}', '{"a": 1}', id="JSON is plain text"),
        pytest.param('{"a":{"b":{task}}}', '{"a":{"b":read}}', id="a variable inside JSON"),
        pytest.param('{{"a": "{task}"}}', '{{"a": "read"}}', id="doubled braces around JSON stay"),
        pytest.param("{task.upper}", "{task.upper}", id="no attributes"),
        pytest.param("{items[0]}", "{items[0]}", id="no indexing"),
        pytest.param("{task!r} {task:>9}", "{task!r} {task:>9}", id="no format specifications"),
        pytest.param("{ task }", "{ task }", id="no spaces"),
        pytest.param("{} {0} {9lives}", "{} {0} {9lives}", id="no positions"),
        pytest.param("{größe}", "10 m", id="names in any script"),
        pytest.param("{task", "{task", id="an open brace"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_template_is_rendered_by_the_rules(template: str, rendered: str):
    variables = {"task": "read", "count": 3, "items": [1, "b", None], "größe": "10 m"}

    assert render(template, variables) == rendered


def test_variables_without_a_value_are_refused_by_name():
    problem = render("{subject} of {task} for {grade}, {subject} {{none}}", {"task": "x"})

    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == ("validation", "context")
    assert problem.message.startswith("the template needs subject, grade: ")


def test_a_refusal_lists_a_bounded_number_of_names_of_bounded_length():
    template = "".join(f"{{{letter * 10_000}}}" for letter in string.ascii_letters)

    problem = render(template, {})

    assert isinstance(problem, Problem)
    assert len(problem.message) < 1600
    assert ", …" in problem.message


@given(PLAIN, st.dictionaries(NAMES, JSON))
def test_text_without_braces_never_changes(text: str, variables: dict[str, Any]):
    assert render(text, variables) == text


@given(JSON, st.dictionaries(NAMES, st.just("value")))
def test_a_json_document_is_a_template_of_itself(document: Any, variables: dict[str, Any]):
    text = msgspec.json.encode({"a": document}).decode()
    assume("{{" not in text)
    assume(all(f"{{{name}}}" not in text for name in variables))

    assert render(text, variables) == text


@given(PLAIN, NAMES, JSON, PLAIN)
def test_a_value_is_put_in_once_and_never_looked_into(
    before: str, name: str, value: Any, after: str
):
    inside = [value, "{" + name + "}"]

    rendered = render(f"{before}{{{name}}}{after}", {name: inside})

    assert rendered == before + msgspec.json.encode(inside).decode() + after


@given(PLAIN, NAMES, PLAIN, st.text())
def test_a_string_is_put_in_as_it_is(before: str, name: str, after: str, value: str):
    assert render(f"{before}{{{name}}}{after}", {name: value}) == before + value + after


@given(NAMES)
def test_an_escaped_name_renders_to_the_name_in_braces(name: str):
    assert render("{{" + name + "}}", {name: "value"}) == "{" + name + "}"


@given(st.text('{}ab"_1 '), st.dictionaries(st.sampled_from(["a", "b", "ab"]), st.text("xyz")))
def test_no_value_means_no_change_but_unescaping(template: str, variables: dict[str, str]):
    rendered = render(template, {"a": "", "b": "", "ab": "", "_": ""} | variables)
    assume(isinstance(rendered, str))

    assert isinstance(rendered, str)
    assert [c for c in rendered if c in string.digits] == [c for c in template if c == "1"]


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{" * 200_000, id="open braces"),
        pytest.param("{a" * 100_000, id="open names"),
        pytest.param("{" + "a" * 199_999, id="one endless name"),
        pytest.param("{{a" * 66_000, id="open doubled names"),
    ],
)
def test_hostile_templates_are_rendered_in_one_pass(template: str):
    assert render(template, {"a": "x"}) == template


def test_a_template_that_repeats_a_long_value_is_refused():
    problem = render("{input_data}" * 10_000, {"input_data": "x" * 1_000_000})

    assert problem == Problem(
        code="validation",
        message=f"the rendered prompt is longer than {MAX_RENDERED_CHARACTERS:,} characters",
        field="task",
    )


def test_the_limit_counts_the_plain_text_as_well():
    value = "x" * MAX_RENDERED_CHARACTERS

    assert render("{a}", {"a": value}) == value
    assert isinstance(render("{a}.", {"a": value}), Problem)


def test_a_value_nested_too_deeply_for_json_is_refused():
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    assert render("{a}", {"a": value}) == Problem(
        code="validation", message="is nested too deeply", field="context"
    )
