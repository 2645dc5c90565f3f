"""Keys and tokens in nats-server's spelling."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigError, ProblemError
from bus.security import issuer
from bus.security.nkeys import KeyPair, Owner, is_public, verified

CHANCE = bytes(range(32))


@given(chance=st.binary(min_size=32, max_size=32))
def test_a_seed_is_read_as_it_was_written(chance: bytes):
    owners: tuple[Owner, ...] = ("account", "user", "server")
    for owner in owners:
        pair = KeyPair.of(chance, owner)
        again = KeyPair.from_seed(pair.seed)
        assert again is not None
        assert (again.public, again.seed) == (pair.public, pair.seed)


@pytest.mark.parametrize("owner", ["user", "server"])
def test_who_has_signed_is_told_and_of_which_kind(owner: Owner):
    pair = KeyPair.of(CHANCE, owner)
    token = pair.signed({"sub": "s", "nats": {"type": "user"}}).encode()
    claims = verified(token, owner)
    assert claims is not None
    assert (claims.issuer, claims.body["sub"]) == (pair.public, "s")
    assert verified(token, "account") is None


@given(place=st.integers(0, 10_000), letter=st.sampled_from(b"AZaz09-_."))
def test_a_token_that_was_changed_is_none(place: int, letter: int):
    token = KeyPair.of(CHANCE, "server").signed({"sub": "s"}).encode()
    at = place % len(token)
    spoilt = token[:at] + bytes([letter]) + token[at + 1 :]
    claims = verified(spoilt, "server")
    # The last letter of a part holds bits that are no part of its bytes.
    assert claims is None or claims.body["sub"] == "s"
    if at < len(token) // 2 and spoilt != token:
        assert claims is None


@pytest.mark.parametrize(
    "token",
    [b"", b"..", b"a.b.c", b"e30.e30.", b"\xff" * 100, b"e30." * 40_000],
    ids=range(6),
)
def test_what_is_no_token_is_none(token: bytes):
    assert verified(token, "server") is None


def test_public_keys_are_told_by_their_kind_and_check():
    public = KeyPair.of(CHANCE, "user").public
    assert is_public(public, "user")
    assert not is_public(public, "account")
    assert not is_public(public[:-1] + ("A" if public[-1] != "A" else "B"), "user")
    assert not is_public("ü" * 56, "user")


def test_a_key_lies_in_a_new_file_of_its_users_alone(tmp_path: Path):
    file = tmp_path / "issuer"
    made = issuer.create(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert issuer.issuer_of(file).public == made.public
    with pytest.raises(ProblemError):
        issuer.create(file)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        issuer.issuer_of(file)
    file.chmod(0o600)
    file.write_text("no seed", encoding="utf-8")
    with pytest.raises(ConfigError, match="nats issuer"):
        issuer.issuer_of(file)
    with pytest.raises(ConfigError):
        issuer.issuer_of(tmp_path / "none")
