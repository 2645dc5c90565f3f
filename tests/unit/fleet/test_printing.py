"""Log lines of a fleet's processes as people read them."""

import click

from actors.fleet.printing import readable


def test_a_log_line_in_json_becomes_readable():
    line = (
        '{"at":"2026-01-02T03:04:05.678Z","level":"warning","actor":"agents","process":"agents-1",'
        '"event":"nats.lost","connection":"agents","tries":3}'
    )
    assert click.unstyle(readable(line)) == "03:04:05 nats.lost connection=agents tries=3"


def test_any_other_line_stays_as_it_is():
    for line in ("Traceback (most recent call last):", "{half", "[1, 2]"):
        assert readable(line) == line
