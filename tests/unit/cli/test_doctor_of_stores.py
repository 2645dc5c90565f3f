"""What doctor says of the stores that refuse what does not fit."""

from actors.cli.checks import Result, stores
from bus.ports import Fill


def test_stores_with_room_are_shown_with_their_figures():
    found = stores({"JOURNAL_EXECUTION": Fill(790, 1000), "BLOBS": Fill(0, 1000)})

    assert found == Result("stores", ok=True, detail="full to BLOBS 0%, JOURNAL_EXECUTION 79%")


def test_one_that_is_full_to_four_fifths_is_a_fault_and_named():
    found = stores({"JOURNAL_ACCOUNT": Fill(800, 1000), "BLOBS": Fill(1, 1000)})

    assert not found.ok
    assert found.detail == ("full to BLOBS 0%, JOURNAL_ACCOUNT 80%; give JOURNAL_ACCOUNT more room")


def test_a_store_without_a_bound_is_never_full():
    assert stores({"BLOBS": Fill(10**12, 0)}) == Result(
        "stores", ok=True, detail="none has a bound"
    )
