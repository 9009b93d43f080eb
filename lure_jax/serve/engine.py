"""The model behind the server: as many images at a time as allowed, a bounded number of compiled shapes."""

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from lure_jax.errors import UserError
from lure_jax.evaluation.fusion import fusion_scores
from lure_jax.evaluation.restoration import STEP, to_uint8
from lure_jax.inference import arrays, buckets
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import Prompt, conditions_of
from lure_jax.inference.weights import Released
from lure_jax.models.lure import Lure
from lure_jax.serve.limits import Limits, Refusal, megapixels
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import PROMPT_CONDITIONS

LEAST_SIDE = 176  # pixels; what MS-SSIM needs
MOST_MEASURED = 4_000_000  # pixels; metrics take a gigabyte then
_WARM = (480, 640)
_NEVER = 1e9  # seconds

T = TypeVar("T")


class Found(NamedTuple):
    """A condition the network looked for: how probable it is, and whether `auto` acts on it."""

    condition: str
    probability: float
    present: bool


class Engine:
    """Runs a released model for a server.

    Args:
      released: as `weights.load` gives it.
      name: what to call it.
      limits: of the work.
    """

    def __init__(self, released: Released, name: str, limits: Limits):
        self.name, self.limits = name, limits
        self.restores = isinstance(released.model, Lure)
        self._fuser = Fuser(released)
        self._thresholds = released.thresholds
        self._multiple = released.model.sizes.multiple
        self._pool = ThreadPoolExecutor(limits.concurrency, "fuse")
        self._shapes: set[tuple] = set()
        self._lock = threading.Lock()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Runs `work` beside the event loop, when its turn comes; what nobody waits for any more is not begun."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(work, *args))
        except Refusal:
            raise
        except ValueError as error:
            raise Refusal(422, str(error)) from error
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            raise Refusal(503, f"The image could not be computed: {str(error).splitlines()[0]}") from error

    def begin(self, work: Callable[[], Any]) -> None:
        """Runs `work` when its turn comes; nobody waits for it."""
        self._pool.submit(work)

    def close(self) -> None:
        """Begins nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read_prompt(self, prompt: str) -> Prompt:
        """As `Fuser.read_prompt`; Refusal 422 for one that is unusable."""
        try:
            return self._fuser.read_prompt(prompt)
        except UserError as error:
            raise Refusal(422, str(error)) from error

    def fuse(self, visible: np.ndarray, infrared: np.ndarray, prompt: Prompt, strength: float) -> np.ndarray:
        """As `Fuser.fuse`."""
        self._register("fuse", visible, strength < 1)
        return self._fuser.fuse(visible, infrared, prompt, strength)

    def restore(self, image: np.ndarray, modality: str, prompt: Prompt, strength: float) -> np.ndarray:
        """As `Fuser.restore`; Refusal 422 for a model that fuses alone."""
        self.check_restores()
        self._register(f"restore {modality}", image, strength < 1)
        return self._fuser.restore(image, modality, prompt, strength)

    def detect(self, image: np.ndarray, modality: str) -> list[Found]:
        """The conditions of an image, the most probable first; Refusal 422 for a model that fuses alone."""
        self.check_restores()
        self._register("detect", image)
        found = self._fuser.detect(image, modality)
        limits = {CONDITIONS[c].name: self._thresholds[c] for c in conditions_of(modality)}
        ordered = sorted(found.items(), key=lambda item: -item[1])
        return [Found(name, probability, bool(probability > limits[name])) for name, probability in ordered]

    def check_restores(self) -> None:
        """Raises Refusal (422) for a model that fuses alone."""
        try:
            self._fuser.check_restores()
        except ValueError as error:
            raise Refusal(422, str(error)) from error

    def metrics(self, fused: np.ndarray, visible: np.ndarray, infrared: np.ndarray) -> dict[str, float]:
        """As `evaluation.fusion.fusion_scores`; Refusal for images too small (422) or too large (413)."""
        height, width = fused.shape[:2]
        if min(height, width) < LEAST_SIDE:
            raise Refusal(422, f"Metrics need at least {LEAST_SIDE}x{LEAST_SIDE} pixels; these have {width}x{height}.")
        if height * width > MOST_MEASURED:
            most = megapixels(MOST_MEASURED)
            raise Refusal(413, f"Metrics are measured up to {most} here; `lure evaluate` takes larger images.")
        self._register("metrics", fused, multiple=STEP)
        seen = (fused, "visible"), (visible, "visible"), (infrared, "infrared")
        eight = [to_uint8(self.shown(image, modality)) for image, modality in seen]
        return fusion_scores(eight[0], eight[1], eight[2][..., 0])

    def shown(self, image: np.ndarray, modality: str) -> np.ndarray:
        """An image as the network sees it: (H,W,3) visible, (H,W,1) infrared, in [0,1]."""
        return arrays.to_unit(image, modality)[0][0]

    def warm(self) -> None:
        """Compiles what the usual size needs, so that the first visitor does not wait."""
        visible, infrared = np.zeros((*_WARM, 3), np.uint8), np.zeros(_WARM, np.uint8)
        for prompt in ("auto", "noisy, the thermal is noisy"):
            self.fuse(visible, infrared, self._fuser.read_prompt(prompt), 1.0)
        if self.restores:
            self.detect(visible, "visible"), self.detect(infrared, "infrared")

    def _register(self, what: str, image: np.ndarray, *options: Any, multiple: int = 0) -> None:
        """Notes a shape that is about to be compiled; one too many, and all are forgotten.

        From then on the cache on disk is read, but no longer written: sizes without end would fill it.
        """
        size = image.shape[:2]
        shape = tuple(-(-s // multiple) for s in size) if multiple else buckets.round_up(size, self._multiple)
        with self._lock:
            if (what, *options, shape) not in self._shapes and len(self._shapes) == self.limits.shapes:
                jax.config.update("jax_persistent_cache_min_compile_time_secs", _NEVER)
                jax.clear_caches()
                self._shapes.clear()
            self._shapes.add((what, *options, shape))


def conditions_read(prompt: Prompt) -> dict[str, list[str] | None]:
    """What a prompt was understood as, of each modality; None where the network decides or reads free text."""

    def names(ids: Any) -> list[str] | None:
        if not isinstance(ids, np.ndarray) or (ids < -1).any():
            return None
        return [CONDITIONS[PROMPT_CONDITIONS[i]].name for i in ids if i >= 0]

    return {"visible": names(prompt.visible), "infrared": names(prompt.infrared)}
