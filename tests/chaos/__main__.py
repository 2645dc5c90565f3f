"""Kills and stops processes of a busy fleet, fills its disk: is anything lost or doubled?

python -m tests.chaos --kills 300 --seed 7
python -m tests.chaos --cluster --kills 40

What is found is written to ``report.txt`` after every round; Ctrl-C ends a run early, in order.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import anyio

from bus.telemetry import logs
from tests.chaos.cluster import run_on_cluster
from tests.chaos.run import run
from tests.chaos.trial import Plan, Result


async def _run(options: argparse.Namespace, directory: Path) -> Result:
    torment = run_on_cluster if options.cluster else run

    def tell(result: Result) -> None:
        (directory / "report.txt").write_text(result.report, encoding="utf-8")

    plan = Plan(faults=options.kills, seed=options.seed, tell=tell)
    found: list[Result] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_interrupted, plan)
        found.append(await torment(directory, plan))
        tasks.cancel_scope.cancel()
    return found[-1]


async def _until_interrupted(plan: Plan) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            plan.enough.set()


def main() -> int:
    """Run once; return 1 where a promise was broken, and then keep the files."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=30, help="faults of all kinds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cluster", action="store_true", help="on three nats-servers")
    parser.add_argument("--keep", action="store_true", help="keep logs and data in any case")
    options = parser.parse_args()
    logs.configure("error", "console", stream=sys.stderr)
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"files         {directory}", flush=True)
    result = anyio.run(_run, options, directory)
    print(result.report)
    if result.verdict.good and not options.keep:
        shutil.rmtree(directory)
    return 0 if result.verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
