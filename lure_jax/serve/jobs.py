"""One request's work from bytes to bytes, run beside the event loop."""

import io
import time
import zipfile
from collections.abc import Sequence

import numpy as np
from fastapi import UploadFile

from lure_jax.inference.prompt import Prompt
from lure_jax.metrics.fusion import FUSION_METRICS
from lure_jax.serve import answers, uploads
from lure_jax.serve.engine import Engine, conditions_read
from lure_jax.serve.limits import Limits, Refusal, megabytes
from lure_jax.text.conditions import MODALITIES

_ZIP_FACTOR = 4  # the result of a batch may be so many times as large as an upload


def fuse(
    engine: Engine, files: Sequence[UploadFile], prompt: str, strength: float, *, detect: bool, previews: bool
) -> tuple[bytes, answers.Result]:
    """Fuses an uploaded pair.

    Args:
      engine: does it.
      files: visible, infrared.
      prompt: a sentence or auto.
      strength: in [0,1].
      detect: tell what is wrong with each image, if the model can.
      previews: give back the sources as the network saw them.

    Returns:
      The PNG, and what else there is to say.
    """
    read = engine.read_prompt(prompt)
    pair = read_pair(files, engine.limits)
    start = time.perf_counter()
    fused = engine.fuse(*pair, read, strength)
    result = _result(fused, read, start)
    if detect and engine.restores:
        result.detected = {m: detected(engine, image, m) for m, image in zip(MODALITIES, pair, strict=True)}
    if previews:
        shown = [answers.text(uploads.preview(engine.shown(i, m))) for i, m in zip(pair, MODALITIES, strict=True)]
        result.previews = answers.Previews(visible=shown[0], infrared=shown[1])
    return uploads.png(fused), result


def restore(
    engine: Engine, file: UploadFile, modality: str, prompt: str, strength: float
) -> tuple[bytes, answers.Result]:
    """Restores an uploaded image."""
    engine.check_restores()
    read = engine.read_prompt({modality: prompt})
    image = uploads.read(file, modality, engine.limits)
    start = time.perf_counter()
    restored = engine.restore(image, modality, read, strength)
    return uploads.png(restored), _result(restored, read, start)


def detect(engine: Engine, file: UploadFile, modality: str) -> answers.Detection:
    """Judges an uploaded image."""
    engine.check_restores()
    image = uploads.read(file, modality, engine.limits)
    return answers.Detection(modality=modality, conditions=detected(engine, image, modality))


def detected(engine: Engine, image: np.ndarray, modality: str) -> list[answers.Detected]:
    """What the condition head says of an image."""
    return [answers.Detected(**found._asdict()) for found in engine.detect(image, modality)]


def metrics(engine: Engine, fused: UploadFile, files: Sequence[UploadFile]) -> list[answers.Score]:
    """Scores of an uploaded fused image against its uploaded sources."""
    visible, infrared = read_pair(files, engine.limits)
    image = uploads.read(fused, "fused", engine.limits)
    uploads.check_pair(image, infrared, ("The fused image", "the infrared one"))
    scores = engine.metrics(image, visible, infrared)
    return [_score(name, value) for name, value in scores.items()]


def _score(name: str, value: float) -> answers.Score:
    metric = FUSION_METRICS.get(name)  # the others are what vetoes are decided by
    return answers.Score(
        name=name,
        value=value,
        meaning=answers.MEANINGS[name],
        larger_is_better=metric is not None and metric.larger_is_better,
        refers_to_sources=metric is None or metric.needs_source,
    )


def read_pair(files: Sequence[UploadFile], limits: Limits) -> list[np.ndarray]:
    """Both images of a pair, of one size."""
    pair = [uploads.read(file, modality, limits) for file, modality in zip(files, MODALITIES, strict=True)]
    uploads.check_pair(*pair, [uploads.named(f, m) for f, m in zip(files, MODALITIES, strict=True)])
    return pair


class Batch:
    """Pairs of uploads matched by stem, and the zip file of what came of them.

    Raises:
      Refusal: 422, too many pairs, two files of one stem, or a file without its partner.
    """

    def __init__(self, visible: Sequence[UploadFile], infrared: Sequence[UploadFile], limits: Limits):
        by_stem = [_by_stem(files, m) for files, m in ((visible, "visible"), (infrared, "infrared"))]
        alone = sorted(by_stem[0].keys() ^ by_stem[1].keys())
        if alone:
            has, lacks = MODALITIES if alone[0] in by_stem[0] else MODALITIES[::-1]
            raise Refusal(422, f"The {has} image {alone[0]!r} has no {lacks} partner of that name.")
        if len(by_stem[0]) > limits.pairs:
            raise Refusal(422, f"These are {len(by_stem[0])} pairs, and this server takes {limits.pairs} at a time.")
        self.pairs = {stem: (by_stem[0][stem], by_stem[1][stem]) for stem in sorted(by_stem[0])}
        self.failures: list[str] = []
        self._limit = _ZIP_FACTOR * limits.upload_bytes
        self._data = io.BytesIO()
        self._zip = zipfile.ZipFile(self._data, "w")  # stored: PNG is compressed already

    def add(self, stem: str, png: bytes) -> None:
        """Puts a result into the zip file; Refusal 413 if it gets too large."""
        if self._data.tell() + len(png) > self._limit:
            raise Refusal(413, f"The results are larger than {megabytes(self._limit)} together; send fewer pairs.")
        self._zip.writestr(f"{stem}.png", png)

    def finish(self) -> bytes:
        """The zip file, with errors.txt if some pairs failed; Refusal 422 if all did."""
        if len(self.failures) == len(self.pairs):
            raise Refusal(422, self.failures[0])
        if self.failures:
            self._zip.writestr("errors.txt", "\n".join(self.failures) + "\n")
        self._zip.close()
        return self._data.getvalue()


def _by_stem(files: Sequence[UploadFile], modality: str) -> dict[str, UploadFile]:
    found: dict[str, UploadFile] = {}
    for file in files:
        stem = uploads.stem(file)
        if not stem or stem in found:
            reason = "shares its name with another" if stem else "has no name to match it by"
            raise Refusal(422, f"{uploads.named(file, modality)} {reason}.")
        found[stem] = file
    return found


def _result(image: np.ndarray, read: Prompt, start: float) -> answers.Result:
    return answers.Result(
        image="",
        width=image.shape[1],
        height=image.shape[0],
        seconds=time.perf_counter() - start,
        read=answers.Read(**conditions_read(read)),
        warnings=list(read.warnings),
    )
