"""When a run has to stop early: SIGTERM or a time limit, agreed among all processes."""

import signal
import time
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

AGREE_EVERY = 10  # steps between the questions whether any process was told to stop; one process asks at each


class Stop:
    """Remembers SIGTERM while it is entered, and watches the clock.

    Args:
        max_seconds: a time limit from now on; 0 is none.
    """

    def __init__(self, max_seconds: float):
        self._deadline = time.monotonic() + max_seconds if max_seconds > 0 else float("inf")
        self._reason = ""

    def __enter__(self) -> "Stop":
        self._previous = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._reason = "SIGTERM"

    def reason(self, step: int) -> str:
        """Why to stop after this step, the same on every process; "" to go on."""
        if not self._reason and time.monotonic() > self._deadline:
            self._reason = "config.max_seconds"
        if jax.process_count() == 1:
            return self._reason
        if step % AGREE_EVERY:
            return ""
        told = multihost_utils.process_allgather(np.array([bool(self._reason)]))
        return (self._reason or "another process was told to") if told.any() else ""
