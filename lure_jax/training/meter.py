"""What happened since the last log line: metrics kept on the device, images, and seconds waited for data."""

import math
import time
from collections.abc import Iterator

import jax
import numpy as np

from lure_jax.training.errors import ConfigError
from lure_jax.training.step import Batch, Metrics

IN_FLIGHT = 2  # steps the host may run ahead: enough to hide its work, few enough to stop promptly


class Meter:
    """Collects the metrics of every step without waiting for them, and reads them all at once.

    Args:
        stage: its name, for messages.
    """

    def __init__(self, stage: str):
        self._stage = stage
        self._pending: list[tuple[int, Metrics]] = []
        self.restart()

    def restart(self) -> None:
        """Starts the clock anew: compiling, evaluating and saving are not training speed."""
        self._began, self._waited, self._images = time.monotonic(), 0.0, 0

    def next_batch(self, data: Iterator[Batch]) -> Batch:
        """The next batch; the time it took counts as waiting if the devices ran out of work meanwhile.

        Raises:
            ConfigError: the data ended.
        """
        began = time.monotonic()
        batch = next(data, None)
        if batch is None:
            raise ConfigError(f"the data of stage {self._stage!r} ended before its steps did: it has to repeat.")
        if not self._pending or self._pending[-1][1]["loss"].is_ready():
            self._waited += time.monotonic() - began
        return batch

    def add(self, step: int, metrics: Metrics, images: int) -> None:
        """Keeps the metrics of a step that may still be running."""
        self._pending.append((step, metrics))
        self._images += images
        if len(self._pending) > IN_FLIGHT:
            jax.block_until_ready(self._pending[-1 - IN_FLIGHT][1])

    def read(self) -> dict[str, float]:
        """Waits for the steps since the last reading and averages their metrics; empty without any.

        Returns:
            The means, lr as it is now, and images_per_second, steps_per_second, data_wait (share of the time).

        Raises:
            FloatingPointError: the loss or the gradient of a step is not finite; names the step and all terms.
        """
        if not self._pending:
            return {}
        steps, metrics = zip(*self._pending, strict=True)
        rows = jax.device_get(metrics)
        seconds = time.monotonic() - self._began
        for step, row in zip(steps, rows, strict=True):
            if not (math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])):
                terms = ", ".join(f"{name} {float(value):.4g}" for name, value in sorted(row.items()))
                raise FloatingPointError(f"stage {self._stage!r} diverged at step {step}: {terms}.")
        summary = {name: float(np.mean([row[name] for row in rows])) for name in rows[-1]}
        summary["lr"] = float(rows[-1]["lr"])
        summary["images_per_second"] = self._images / seconds
        summary["steps_per_second"] = len(rows) / seconds
        summary["data_wait"] = self._waited / seconds
        self._pending.clear()
        self.restart()
        return summary
