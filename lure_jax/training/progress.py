"""What a run says while it works: a live line, metrics.jsonl, TensorBoard, pictures."""

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import tensorboardX
import tqdm
from etils import epath
from PIL import Image

from lure_jax.paths import is_bucket

METRICS = "metrics.jsonl"
FLUSH_SECONDS = 10.0
NOT_TERMS = ("loss", "grad_norm", "lr", "images_per_second", "steps_per_second", "data_wait")


class Progress:
    """The live line of a run, or plain lines when standard error is not a terminal; silent but on process 0.

    Args:
        total: steps of the whole run.
        first: steps done before.
    """

    def __init__(self, total: int, first: int):
        self._live = jax.process_index() == 0 and sys.stderr.isatty()
        self._total = total
        self._bar = tqdm.tqdm(
            total=total,
            initial=first,
            disable=not self._live,
            dynamic_ncols=True,
            bar_format="{desc}{n_fmt}/{total_fmt} |{bar:20}|{postfix}",
        )

    def note(self, text: str) -> None:
        """Prints a line of its own."""
        if self._live:
            self._bar.write(text, file=sys.stderr)
        elif jax.process_index() == 0:
            print(text, file=sys.stderr, flush=True)

    def tick(self, step: int) -> None:
        """Moves the live line to a step."""
        self._bar.update(step - self._bar.n)

    def show(self, stage: str, step: int, scalars: Mapping[str, float]) -> None:
        """Shows the summary of the last interval: loss, speed, then the terms of the loss."""
        left = (self._total - step) / max(scalars["steps_per_second"], 1e-9)
        terms = [f"{name} {value:.4g}" for name, value in scalars.items() if name not in NOT_TERMS]
        tail = (
            f"loss {scalars['loss']:.4f}  {scalars['images_per_second']:.1f} img/s  "
            f"data wait {scalars['data_wait']:.0%}  ETA {_duration(left)}  {'  '.join(terms)}"
        )
        if self._live:
            self._bar.set_description_str(f"{stage} ", refresh=False)
            self._bar.set_postfix_str(tail)
        else:
            self.note(f"{stage} {step}/{self._total}  {tail}")

    def close(self) -> None:
        """Leaves the line."""
        self._bar.close()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s"


class MetricsWriter:
    """Writes scalars to metrics.jsonl and TensorBoard and pictures to PNG files, on process 0 alone.

    metrics.jsonl is one JSON object a line: step, stage, split ("train" or "eval") and the scalars. It is
    always written whole, as object stores can't append; rows later than `first` are dropped, as a resumed run
    makes them again.

    Args:
        workdir: local or bucket path.
        first: the step from which the run continues.
    """

    def __init__(self, workdir: epath.PathLike, first: int):
        self._active = jax.process_index() == 0
        self._workdir = epath.Path(workdir)
        if not self._active:
            return
        self._workdir.mkdir(parents=True, exist_ok=True)
        self._rows = [row for row in read_metrics(self._workdir) if row["step"] <= first]
        self._written = time.monotonic()
        folder = self._workdir / "tensorboard"
        self._spool = tempfile.TemporaryDirectory() if is_bucket(folder) else None
        self._board_folder = folder
        self._board = tensorboardX.SummaryWriter(
            self._spool.name if self._spool else os.fspath(folder), purge_step=first + 1
        )

    def scalars(self, split: str, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Adds one row; files are written at most every `FLUSH_SECONDS`."""
        if not self._active:
            return
        self._rows.append({"step": step, "stage": stage, "split": split, **values})
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)
        if time.monotonic() - self._written > FLUSH_SECONDS:
            self.flush()

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Writes each uint8 (H, W, 3) picture to NAME.png in the workdir, over the one before."""
        if not self._active:
            return
        for name, picture in pictures.items():
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, format="png")
            write_whole(self._workdir / f"{name}.png", buffer.getvalue())
            self._board.add_image(name, picture, step, dataformats="HWC")

    def flush(self) -> None:
        """Writes the files now."""
        if not self._active:
            return
        text = "".join(json.dumps(row) + "\n" for row in self._rows)
        write_whole(self._workdir / METRICS, text.encode())
        self._board.flush()
        self._upload_board()
        self._written = time.monotonic()

    def close(self) -> None:
        """Writes what is left."""
        if not self._active:
            return
        self.flush()
        self._board.close()  # only now have its last events reached the file
        self._upload_board()
        if self._spool:
            self._spool.cleanup()

    def _upload_board(self) -> None:
        if self._spool:
            self._board_folder.mkdir(parents=True, exist_ok=True)
            for file in epath.Path(self._spool.name).iterdir():
                write_whole(self._board_folder / file.name, file.read_bytes())


def read_metrics(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """The rows of a workdir's metrics.jsonl; empty without one."""
    path = epath.Path(workdir) / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_whole(path: epath.Path, content: bytes) -> None:
    """Writes a file so that no reader ever sees half of it: by a rename, or as one object in a bucket."""
    if is_bucket(path):
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)
