"""Whether the cost of a function grows with its input's length as the length itself.

Costs are CPU time of this thread alone, the least of some runs, so that a busy machine hardly changes
them. Quadratic work costs 16 times as much for four times the text; linear work four times, and a
little more for memory that no longer fits into a cache.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable

LENGTH = 100_000
_SMALL = 0.04
"""CPU seconds for 100 KB that need no second look: quadratic work with C's speed needs seconds."""
_MOST = 10.0
"""Times the cost of a quarter of the text: between 4 (linear) and 16 (quadratic)."""
_HOPELESS = 1.0
"""CPU seconds that no quarter of a text may cost."""
_RUNS = 5


def text_of(length: int, start: str, piece: str, end: str) -> str:
    """Return ``start``, then the piece again and again, then ``end``: ``length`` characters or less."""
    room = max(length - len(start) - len(end), 0)
    return start + piece * (room // len(piece)) + end


def is_linear(
    function: Callable[[str], object], text: Callable[[int], str], length: int = LENGTH
) -> bool:
    """Whether the function needs, for a text, about four times what it needs for a quarter of it."""
    least_short = least_long = float("inf")
    for _ in range(_RUNS):
        # The short one first: what is quadratic ends here, before it needs minutes.
        # More than once, as a disturbed short run would make a quadratic cost look linear.
        for _ in range(_RUNS):
            least_short = min(least_short, _cost(function, text(length // 4)))
            if least_short > _HOPELESS:
                return False
        least_long = min(least_long, _cost(function, text(length)))
        if least_long < _MOST * least_short or least_long < _SMALL:
            return True
    return False


def _cost(function: Callable[[str], object], text: str) -> float:
    """Return the CPU seconds of one call; an error of the function is one of its answers.

    Without the garbage collector: it looks at all objects of the process, so a call that makes many
    would pay for what other tests left.
    """
    gc.collect(0)
    gc.disable()
    try:
        began = time.thread_time()
        with contextlib.suppress(Exception):
            function(text)
        return time.thread_time() - began
    finally:
        gc.enable()
