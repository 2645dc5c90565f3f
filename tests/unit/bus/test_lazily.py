import sys
from importlib import import_module
from pathlib import Path

import pytest

from bus.lazily import later


def test_a_module_is_read_when_something_of_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "slowly_read"
    package.mkdir()
    (package / "__init__.py").write_text("import sys\nsys.was_read = True\nVALUE = 1\n")
    (package / "part.py").write_text("VALUE = 2\n")
    monkeypatch.syspath_prepend(tmp_path)

    later("slowly_read")
    module = import_module("slowly_read")

    assert not hasattr(sys, "was_read")
    part = import_module("slowly_read.part")

    assert (module.VALUE, part.VALUE) == (1, 2)
    assert sys.modules["slowly_read"].VALUE == 1


def test_what_is_not_installed_is_still_missing():
    later("no_such_module_here")

    with pytest.raises(ImportError):
        import_module("no_such_module_here")
