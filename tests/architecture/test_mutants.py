"""The table of planted mistakes fits the tree: `make mutants` plants them."""

import pytest

from tests.architecture.test_requirements import exists
from tests.architecture.tree import ROOT
from tests.mutants import MUTANTS, Mutant


def test_no_mistake_stands_twice():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_has_one_place_and_a_test_that_is_there(mutant: Mutant):
    text = (ROOT / mutant.file).read_text(encoding="utf-8")

    assert text.count(mutant.text) == 1
    assert exists(mutant.tests) or ("::" not in mutant.tests and (ROOT / mutant.tests).is_file())
