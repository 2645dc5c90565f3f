"""Write golden files: ``python -m tests.contract.regenerate [--replace | --add] [NAME …]``.

Without an option only missing files are written, and those that differ are listed. ``--replace``
overwrites what differs: for documents, and for messages that nobody outside has seen. ``--add``
keeps the old file of a message and writes the next version beside it; for a golden journal both do
that, because what is stored somewhere stays so. NAME limits both to some.
"""

import argparse
import sys
from pathlib import Path

from tests.contract import journals
from tests.contract.golden_files import DOCUMENTS, version_of, wanted


def main() -> int:
    """Write what is asked for; 1 if something differs and was left alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.regenerate")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--replace", action="store_true", help="overwrite files that differ")
    choice.add_argument("--add", action="store_true", help="write the next version of a message")
    parser.add_argument("names", nargs="*", help="only files whose names begin so")
    options = parser.parse_args()
    left = 0
    for path, data in (wanted() | journals.wanted()).items():
        if options.names and not path.name.startswith(tuple(options.names)):
            continue
        left += _settle(path, data, replace=options.replace, add=options.add)
    return 1 if left else 0


def _settle(path: Path, data: bytes, *, replace: bool, add: bool) -> int:
    if not path.exists():
        return _write(path, data)
    if path.read_bytes() == data:
        return 0
    if replace and path not in journals.paths():
        return _write(path, data)
    if (add or replace) and path.name not in DOCUMENTS:
        number = version_of(path)
        return _write(path.with_name(path.name.replace(f".v{number}.", f".v{number + 1}.")), data)
    sys.stdout.write(f"differs: {path.name}\n")
    return 1


def _write(path: Path, data: bytes) -> int:
    path.write_bytes(data)
    sys.stdout.write(f"written: {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
