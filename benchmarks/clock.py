"""The clock of benchmarks that repeat one piece of work. It imports nothing that a benchmark may want to measure."""

import time
from collections.abc import Callable

SECONDS = 3.0


def times_a_second(work: Callable[[], object]) -> float:
    """How often a second the work is done, over SECONDS; twice before, to warm up."""
    for _ in range(2):
        work()
    count, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < SECONDS:
        work()
        count += 1
    return count / spent
