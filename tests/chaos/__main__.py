"""Kills and stops processes of a busy fleet, fills its disk: is anything lost or doubled?

python -m tests.chaos --kills 300 --seed 7
python -m tests.chaos --cluster --kills 40
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import anyio

from tests.chaos.cluster import run_on_cluster
from tests.chaos.run import run


def main() -> int:
    """Run once; return 1 where a promise was broken, and then keep the files."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="faults of all kinds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cluster", action="store_true", help="on three nats-servers")
    parser.add_argument("--keep", action="store_true", help="keep logs and data in any case")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    torment = run_on_cluster if options.cluster else run
    result = anyio.run(lambda: torment(directory, faults=options.kills, seed=options.seed))
    print(result.report)
    if result.verdict.good and not options.keep:
        shutil.rmtree(directory)
        return 0
    print(f"files         {directory}")
    return 0 if result.verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
