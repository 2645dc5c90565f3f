"""Plays seeded histories: ``python -m tests.simulation --seeds 2000``, or one: ``--seed 42``."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain

from tests.simulation.history import STORIES, Story, failures, play
from tests.simulation.shrink import shrunk

BATCH = 25
MOST_SHOWN = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what is asked for; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="play this one and print its trace")
    parser.add_argument("--story", choices=list(STORIES), default="fleet", help="what it is about")
    asked = parser.parse_args(arguments)
    if asked.seed is not None:
        return play_one(asked.seed, STORIES[asked.story])
    return play_all(range(asked.first, asked.first + asked.seeds), asked.story)


def play_one(seed: int, story: Story) -> int:
    """Play a seed; if it fails, print the least that makes it fail, and its trace."""
    history = play(seed, story=story)
    if not history.broken:
        print(history.trace)
        print(f"seed {seed}: every promise kept, trace {history.trace.digest[:16]}")
        return 0
    small = shrunk(history)
    print(small.trace)
    print(f"seed {seed}: {len(small.drawn)} of {len(history.drawn)} events and faults are enough:")
    print("\n".join(f"  {name}" for name in small.drawn))
    print("\n".join(f"BROKEN {what}" for what in small.broken))
    return 1


def play_all(seeds: range, story: str) -> int:
    """Play seeds on all cores; name those that fail."""
    began = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        played = processes.map(partial(_failures, story), _batches(seeds))
        failed = list(chain.from_iterable(played))
    for seed, what in failed[:MOST_SHOWN]:
        print(f"seed {seed}: {what}  (make simulate STORY={story} SEED={seed})")
    seconds = time.monotonic() - began
    print(f"{len(seeds)} histories in {seconds:.0f} s, {len(failed)} broke a promise")
    return 1 if failed else 0


def _batches(seeds: range) -> Iterator[range]:
    return (seeds[place : place + BATCH] for place in range(0, len(seeds), BATCH))


def _failures(story: str, seeds: range) -> list[tuple[int, str]]:
    return [(history.seed, history.broken[0]) for history in failures(seeds, STORIES[story])]


if __name__ == "__main__":
    sys.exit(main())
