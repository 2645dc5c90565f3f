"""What a process counts of a tenant in a stream that all share."""

from hypothesis import given
from hypothesis import strategies as st

from bus.fairness.share import LEAST_PIECE_BYTES, PIECES, Share

ALLOWED = 64 * LEAST_PIECE_BYTES
PIECE = ALLOWED // PIECES
FOREVER = 10**15

sizes = st.lists(st.integers(1, ALLOWED), max_size=60)


def filled(amounts: list[int]) -> tuple[Share, list[int]]:
    """Store amounts one after another, each as one message; return at which sequence each lies."""
    share = Share()
    for sequence, amount in enumerate(amounts, start=1):
        share.add(amount, now=sequence)
        if share.is_full(ALLOWED):
            share.begin(sequence)
    return share, list(range(1, len(amounts) + 1))


@given(sizes)
def test_what_is_left_is_allowed_and_the_newest(amounts: list[int]):
    share, sequences = filled(amounts)
    below = share.excess(ALLOWED)
    if below is None:
        assert sum(amounts) == share.size <= ALLOWED + PIECE
        return
    share.cut(below)
    left = [
        amount for amount, sequence in zip(amounts, sequences, strict=True) if sequence >= below
    ]
    gone = [amount for amount, sequence in zip(amounts, sequences, strict=True) if sequence < below]

    assert share.size == sum(left) <= ALLOWED + PIECE
    assert share.excess(ALLOWED) is None
    # No more goes than must: with the last piece that went it was too much.
    assert sum(left) + sum(gone[-1:]) + PIECE > ALLOWED


@given(sizes, st.integers(0, 70))
def test_what_has_expired_does_not_count(amounts: list[int], before: int):
    share, _ = filled(amounts)
    share.expire(before, FOREVER)

    young = sum(amount for now, amount in enumerate(amounts, start=1) if now >= before)
    assert young <= share.size <= young + PIECE


@given(sizes)
def test_a_share_is_never_more_than_its_stream_holds(amounts: list[int]):
    share, _ = filled(amounts)
    share.expire(0, ALLOWED)
    assert share.size <= max(ALLOWED, PIECE)


def test_pieces_are_few_whatever_is_allowed():
    share = Share()
    share.add(LEAST_PIECE_BYTES - 1, now=1)
    assert not share.is_full(0)
    share.add(1, now=1)
    assert share.is_full(0)
