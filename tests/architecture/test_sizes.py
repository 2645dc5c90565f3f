"""Files and functions stay small enough to be read at once."""

from tests.architecture.tree import PACKAGES, functions, modules

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def test_no_file_is_longer_than_500_lines():
    lengths = {module.path: module.text.count("\n") for module in modules(*PACKAGES)}

    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_60_lines():
    lengths = {
        f"{module.path}:{function.lineno} {function.name}": function.end_lineno
        - function.lineno
        + 1
        for module in modules(*PACKAGES)
        for function in functions(module)
        if function.end_lineno is not None
    }

    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}
