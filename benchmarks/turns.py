"""Timing of parts that take turns, so that other work of the machine affects all of them equally."""

import statistics
import time
from collections.abc import Callable, Mapping


def take_turns(parts: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Measure parts that take turns.

    Args:
        parts: The parts by name.
        rounds: The number of rounds that count; one more before them does not.

    Returns:
        The median seconds of each part.
    """
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds + 1):
        for name, run in parts.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
