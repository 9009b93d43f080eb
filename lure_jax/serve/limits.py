"""What one server takes on, and how it says no."""

from typing import NamedTuple

from lure_jax.errors import UserError

PROMPT_LENGTH = 500  # characters


class Limits(NamedTuple):
    """Bounds of the work and the memory.

    Attributes:
      upload_bytes: of one request's body.
      pixels: of one image, as its header says.
      concurrency: images computed at a time.
      waiting: requests admitted beyond those, their images in memory; more are sent away.
      seconds: from the head of a request to its answer.
      pairs: of one batch.
      shapes: compiled at a time, the metrics' included.
    """

    upload_bytes: int = 32 * 2**20
    pixels: int = 12_000_000
    concurrency: int = 1
    waiting: int = 8
    seconds: float = 120
    pairs: int = 100
    shapes: int = 24

    @property
    def admitted(self) -> int:
        """Requests whose bodies may be in memory at a time."""
        return self.concurrency + self.waiting


class Refusal(UserError):
    """A request that gets no result: an HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


def megabytes(count: int) -> str:
    """1.5 MB, 32 MB."""
    return f"{count / 2**20:.3g} MB"


def megapixels(count: int) -> str:
    """0.31, 4, 12.2 megapixels."""
    return f"{count / 1e6:.3g} megapixels"
