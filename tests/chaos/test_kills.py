from pathlib import Path

import pytest

from tests.chaos.run import run

KILLS = 30
SEED = 1


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_thirty_kills_lose_nothing_and_double_nothing(tmp_path: Path):
    result = await run(tmp_path, kills=KILLS, seed=SEED)

    print(result.report)
    assert result.verdict.good, result.report
