"""Planning of files and folders: every complaint comes before any work."""

import pathlib

import numpy as np
import pytest

from lure_jax.inference import images
from lure_jax.inference.folders import JobError, plan_jobs


def _fill(folder, *names):
    for name in names:
        images.write(folder / name, np.zeros((4, 4), np.uint8))
    return folder


def test_folders_are_matched_by_stem_and_other_files_ignored(tmp_path):
    vi, ir = _fill(tmp_path / "vi", "b.png", "a.jpg"), _fill(tmp_path / "ir", "a.tif", "b.png")
    (vi / "notes.txt").touch()
    (vi / ".hidden.png").touch()
    (vi / "more.png").mkdir()
    jobs = plan_jobs({"visible": vi, "infrared": ir}, tmp_path / "out", overwrite=False)
    assert [job.output for job in jobs] == [tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"]
    assert jobs[0].inputs == {"visible": vi / "a.jpg", "infrared": ir / "a.tif"}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("visible", "infrared", "output", "message"),
    [
        ("nowhere", "ir", "out", "The visible path nowhere does not exist"),
        ("vi", "gone.png", "out", "The infrared path gone.png does not exist"),
        ("vi", "ir/a.png", "out", "vi is a folder and ir/a.png is a file"),
        ("ir/a.png", "vi", "out", "vi is a folder and ir/a.png is a file"),
        ("vi", "empty", "out", "empty holds no image"),
        ("vi", "ir", "out", r"vi/b.png has no partner b\.\* in ir"),
        ("ir", "vi", "out", r"vi/b.png has no partner b\.\* in ir"),
        ("twins", "ir", "out", "a.jpg and a.png have one stem"),
        ("vi", "vi", "vi", "output vi is one of the input folders"),
        ("vi", "vi", "vi/a.png", "output vi/a.png is a file"),
        ("vi", "vi", "done", r"done/a.png and 1 more already exist; give --overwrite"),
        ("ir", "ir", "done", r"done/a.png already exists; give --overwrite"),
        ("vi/a.png", "ir/a.png", "vi/a.png", "output vi/a.png is one of the inputs"),
        ("vi/a.png", "ir/a.png", "vi/../ir/a.png", "is one of the inputs"),
        ("vi/a.png", "ir/a.png", "done/a.png", "already exists"),
        ("vi/a.png", "ir/a.png", "done", "output done is a folder"),
        ("vi/a.png", "ir/a.png", "out.gif", r"must end in one of \.png"),
        ("vi/a.png", "ir/a.png", "out", r"must end in one of \.png"),
    ],
)
def test_complaints(tmp_path, monkeypatch, visible, infrared, output, message):
    monkeypatch.chdir(tmp_path)
    here = pathlib.Path()
    _fill(here / "vi", "a.png", "b.png")
    _fill(here / "ir", "a.png")
    _fill(here / "twins", "a.png", "a.jpg")
    _fill(here / "done", "a.png", "b.png")
    (here / "empty").mkdir()
    with pytest.raises(JobError, match=message) as caught:
        plan_jobs({"visible": visible, "infrared": infrared}, output, overwrite=False)
    assert "\n" not in str(caught.value)


def test_overwriting_is_allowed_when_asked_but_never_an_input(tmp_path):
    vi = _fill(tmp_path / "vi", "a.png")
    done = _fill(tmp_path / "done", "a.png")
    assert plan_jobs({"visible": vi}, done, overwrite=True)[0].output == done / "a.png"
    with pytest.raises(JobError, match="is one of the inputs"):
        plan_jobs({"visible": vi / "a.png"}, vi / "a.png", overwrite=True)
