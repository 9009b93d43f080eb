"""What a run writes: rows, TensorBoard, pictures, and how it writes them."""

import json

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from lure_jax.training import progress
from lure_jax.training.progress import MetricsWriter, Progress, read_metrics

SUMMARY = {"loss": 0.5, "l1": 0.25, "images_per_second": 8.0, "steps_per_second": 2.0, "data_wait": 0.01, "lr": 1.0}


def board_tags(folder):
    """The (tag, step) pairs of all event files: length (8 bytes), its CRC (4), the event, its CRC (4)."""
    tags = []
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + size])
            tags += [(value.tag, event.step) for value in event.summary.value]
            content = content[16 + size :]
    return tags


def write(workdir, first=0):
    writer = MetricsWriter(workdir, first)
    writer.scalars("train", "space", first + 1, {"loss": 1.5})
    writer.scalars("eval", "space", first + 2, {"psnr": 30.0})
    writer.pictures(first + 2, {"fused": np.full((4, 6, 3), 7, np.uint8)})
    writer.close()


@pytest.mark.parametrize("local", [True, False])
def test_rows_boards_and_pictures(tmp_path, monkeypatch, local):
    """A bucket (local=False) gets whole files without a rename."""
    if not local:
        monkeypatch.setattr(progress, "is_bucket", lambda path: True)
        monkeypatch.setattr(type(progress.epath.Path(tmp_path)), "replace", None)
    write(tmp_path / "run")
    assert read_metrics(tmp_path / "run") == [
        {"step": 1, "stage": "space", "split": "train", "loss": 1.5},
        {"step": 2, "stage": "space", "split": "eval", "psnr": 30.0},
    ]
    tags = board_tags(tmp_path / "run" / "tensorboard")
    assert {("train/loss", 1), ("eval/psnr", 2), ("fused", 2)} <= set(tags)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "run" / "fused.png")), np.full((4, 6, 3), 7))
    assert not list((tmp_path / "run").glob(".*"))


def test_a_resumed_run_replaces_the_rows_after_its_first_step(tmp_path):
    write(tmp_path)
    write(tmp_path, first=1)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3]
    assert read_metrics(tmp_path)[1]["split"] == "train"


def test_rows_are_json_and_appear_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FLUSH_SECONDS", -1.0)
    writer = MetricsWriter(tmp_path, 0)
    writer.scalars("train", "space", 1, {"loss": 1.5})
    assert json.loads((tmp_path / progress.METRICS).read_text())["loss"] == 1.5
    writer.close()


def test_plain_lines_off_a_terminal(capsys):
    line = Progress(total=100, first=0)
    line.tick(10)
    line.show("space", 10, SUMMARY)
    line.close()
    assert capsys.readouterr().err == "space 10/100  loss 0.5000  8.0 img/s  data wait 1%  ETA 0m45s  l1 0.25\n"


def test_one_live_line_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    line = Progress(total=100, first=5)
    line.tick(10)
    line.show("space", 10, SUMMARY)
    line.note("saved")
    line.close()
    shown = capsys.readouterr().err
    assert "\r" in shown and "10/100" in shown and "saved\n" in shown and "l1 0.25" in shown
