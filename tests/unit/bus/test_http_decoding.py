"""Packed bodies: cut anywhere they unpack to the same, and never to more than allowed."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.http.decoding import BodyDecoder, body_decoder
from bus.http.errors import HttpBrokenError, HttpTooLargeError
from bus.http.limits import PIECE_BYTES


def bare(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def in_members(body: bytes) -> bytes:
    half = len(body) // 2
    return gzip.compress(body[:half]) + gzip.compress(body[half:])


PACKERS = {"gzip": gzip.compress, "zlib": zlib.compress, "bare": bare, "members": in_members}


def unpacked(parts: list[bytes], most: int = 1 << 20) -> bytes:
    decoder, body = BodyDecoder(most=most), b""
    for part in parts:
        decoder.feed(part)
        while piece := decoder.take():
            assert len(piece) <= PIECE_BYTES
            body += piece
    decoder.finish()
    return body


@given(
    st.sampled_from(sorted(PACKERS)),
    st.binary(max_size=300) | st.integers(0, 3 * PIECE_BYTES).map(bytes),
    st.integers(1, 40),
)
def test_cut_anywhere_a_body_unpacks_to_the_same(packer: str, body: bytes, size: int):
    data = PACKERS[packer](body)

    assert unpacked([data[at : at + size] for at in range(0, len(data), size)]) == body


@pytest.mark.parametrize("packer", PACKERS)
def test_a_body_that_is_cut_off_is_broken(packer: str):
    data = PACKERS[packer](b"some text " * 100)
    for end in range(1, len(data)):
        try:
            body = unpacked([data[:end]])
        except HttpBrokenError:
            continue
        # Between two members nothing shows that another one was to come.
        assert packer == "members"
        assert body == (b"some text " * 100)[:500]


def test_an_empty_body_is_packed_anyhow():
    assert unpacked([]) == b""


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08 no gzip", b"\x78\x9c no zlib", b"\xff\xff\xff"])
def test_what_is_not_packed_is_broken(data: bytes):
    with pytest.raises(HttpBrokenError):
        unpacked([data])


@pytest.mark.parametrize("packer", PACKERS)
def test_a_small_body_that_unpacks_to_a_large_one_is_cut(packer: str):
    bomb = PACKERS[packer](bytes(8_000_000))

    assert len(bomb) < 20_000
    with pytest.raises(HttpTooLargeError):
        unpacked([bomb], most=1_000_000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x", "compress"])
def test_other_ways_of_packing_are_refused(encoding: str):
    with pytest.raises(HttpBrokenError):
        body_decoder(encoding, most=1)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " deflate ", "x-gzip"])
def test_the_asked_ones_are_known_in_any_spelling(encoding: str):
    assert isinstance(body_decoder(encoding, most=1), BodyDecoder)
