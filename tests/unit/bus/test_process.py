"""A process started by hand says what it is, and does not start by mistake."""

import sys

import pytest

from bus.runtime.process import EXIT_USAGE, SETTINGS, main

ABOUT = "\nA process of the tests.\n"


async def never() -> None:
    pytest.fail("the process was started")


def left(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["actor", *arguments])
    with pytest.raises(SystemExit) as exited:
        main(never, ABOUT)
    return exited.value.code


@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_it_explains_itself_when_asked(
    asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert left([asked], monkeypatch) == 0
    assert capsys.readouterr().out == f"A process of the tests.\n\n{SETTINGS}\n"


def test_it_refuses_arguments_and_names_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert left(["--shards", "4"], monkeypatch) == EXIT_USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("No arguments are taken: --shards is not known.\n\nA process")
