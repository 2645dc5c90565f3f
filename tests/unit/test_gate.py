"""The gate leaves no test out, and gives more workers to those that wait."""

from tests import gate
from tests.architecture.tree import ROOT


def test_every_folder_with_tests_is_run():
    files = (file.relative_to(ROOT) for file in (ROOT / "tests").rglob("test_*.py"))
    folders = {"/".join(file.parts[:2]) for file in files}

    assert folders == {*gate.COMPUTING, *gate.WAITING}


def test_those_that_wait_keep_to_their_files_and_have_more_workers():
    one, other = gate.spread(gate.COMPUTING), gate.spread(gate.WAITING)

    assert int(other[1]) > int(one[1])
    assert "loadfile" in other
    assert gate.spread([*gate.COMPUTING, *gate.WAITING]) == one
