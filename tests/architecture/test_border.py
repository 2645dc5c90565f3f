"""Bytes from outside are decoded in one place; whoever decodes past it reads our own."""

import re

from tests.architecture.tree import PACKAGES, modules

DECODES = re.compile(
    r"msgspec\.(?:json\.(?:decode|Decoder)\b|yaml|toml|msgpack)|json\.loads?\(|\byaml\.|tomllib\.loads?"
    r"|\bpickle\b|\bmarshal\b"
)
READS = re.compile(r"\.read_(?:bytes|text)\(|\bopen\(\s*[\"'a-z]*path")

BORDER = {"bus/codec.py", "bus/files.py", "schemas/bounds.py"}

OURS = {
    "actors/agents/core/entity.py": "records that our processes have stored",
    "actors/agents/core/prompts.py": "prompts and records that our processes have stored",
    "actors/fleet/printing.py": "log lines of our processes",
    "actors/pricing/adapters/bills.py": "bills that owners have submitted",
    "actors/pricing/adapters/shipped.py": "TOML, which is converted within the bounds",
    "actors/pricing/core/entity.py": "answers of who keeps terms",
    "actors/pricing/core/escrow.py": "answers of owners",
    "actors/workflow/core/effects.py": "answers of other entities",
    "actors/workflow/core/lookup.py": "nets that instances carry, checked when they were applied",
    "bus/projection/file.py": "events of journals",
    "bus/streams/api.py": "answers of nats-server",
    "schemas/bills.py": "answers of owners",
    "schemas/callbacks.py": "answers of owners",
    "schemas/pricing/book.py": "books, whose rows are decoded one by one",
    "schemas/pricing/lazy_book.py": "rows of such a book",
}

FILES_OF_OURS = {
    "actors/pricing/adapters/shipped.py": "overlays of the package",
    "actors/fleet/fork_server.py": "where the arguments of this process lie",
    "actors/mcp_pool/adapters/processes.py": "what the system tells of processes",
    "bus/kv/prices.py": "the book of the package",
    "bus/runtime/process.py": "what the system tells of this process",
    "bus/server/embedded.py": "log and ports of our nats-server",
}


def test_bytes_from_outside_are_decoded_at_the_border_alone():
    found = {each.path for each in modules(*PACKAGES) if DECODES.search(each.text)}
    assert found - BORDER - OURS.keys() == set()


def test_files_of_users_are_read_by_one_function():
    found = {each.path for each in modules(*PACKAGES) if READS.search(each.text)}
    assert found - BORDER - FILES_OF_OURS.keys() == set()


def test_no_exception_to_the_border_outlives_its_reason():
    texts = {each.path: each.text for each in modules(*PACKAGES)}
    assert all(DECODES.search(texts[path]) for path in OURS)
    assert all(READS.search(texts[path]) for path in FILES_OF_OURS)
