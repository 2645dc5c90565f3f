from pathlib import Path

import pytest

from tests.chaos.run import run
from tests.chaos.trial import Plan

FAULTS = 40
SEED = 1


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_forty_faults_lose_nothing_and_double_nothing(tmp_path: Path):
    result = await run(tmp_path, Plan(faults=FAULTS, seed=SEED))

    print(result.report)
    assert result.verdict.good, result.report
