"""A compatible provider is a type and a spec: a sample one is added to a copy, and called there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.architecture.tree import PACKAGES, ROOT
from tests.sample_provider import add_to

SECONDS = 50


def test_a_provider_is_added_by_its_type_and_one_spec(tmp_path: Path):
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    add_to(tmp_path)

    run = subprocess.run(
        [sys.executable, "-m", "tests.sample_provider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert msgspec.json.decode(run.stdout) == {
        "text": "Hello",
        "paths": ["/v1/chat/completions", "/v1/embeddings"],
        "keys": ["Bearer sk-sample"] * 2,
        "dimensions": 2,
        "continues": True,
        "window": None,
        "seller": "sample",
        "refused": "config.top_k",
    }
