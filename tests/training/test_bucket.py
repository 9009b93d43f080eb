"""A run whose workdir is in a bucket, which neither appends nor renames."""

import jax
import numpy as np
import pytest
import toy_recipe as toy
from bucket import PREFIX, mount
from etils import epath

from lure_jax.training import checkpoints
from lure_jax.training.progress import read_metrics

SAVE_OFTEN = dict(every=4, keep=2, best="psnr", best_mode="max")


def evaluate(params, step, stage):
    return {"psnr": -float(step)}, {"sheet": np.full((4, 6, 3), step, np.uint8)}


def test_the_bucket_is_as_strict_as_one(monkeypatch, tmp_path):
    mount(monkeypatch, tmp_path)
    path = epath.Path(f"{PREFIX}/folder/file")
    path.write_text("whole")
    assert path.read_text() == "whole" and (tmp_path / "folder" / "file").read_text() == "whole"
    with pytest.raises(OSError, match="can't be appended"):
        path.open("a")
    with pytest.raises(OSError, match="can't be renamed"):
        path.rename(f"{PREFIX}/other")


def test_a_run_lives_in_a_bucket_and_resumes_there(monkeypatch, tmp_path):
    bucket = mount(monkeypatch, tmp_path / "bucket")
    options = dict(checkpoint=SAVE_OFTEN, log_every=1, eval_every=5, evaluate=evaluate)
    workdir = f"{PREFIX}/runs/toy"
    state = toy.run(workdir, max_seconds=1e-6, **options)
    assert int(state.step) == 1 and checkpoints.latest_step(workdir) == 1
    state = toy.run(workdir, **options)
    expected = toy.run(tmp_path / "local", **options)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    rows = [row["loss"] for row in read_metrics(workdir) if row["split"] == "train"]
    assert len(rows) == 20 and rows == [r["loss"] for r in read_metrics(tmp_path / "local") if r["split"] == "train"]
    kept = sorted(int(path.name) for path in (tmp_path / "bucket/runs/toy/checkpoints").iterdir())
    assert kept == [4, 16, 20] or kept == [5, 16, 20], kept  # the latest two, and the best
    assert (tmp_path / "bucket/runs/toy/sheet.png").stat().st_size > 50
    assert list((tmp_path / "bucket/runs/toy/tensorboard").iterdir())
    assert any(name.endswith("metrics.jsonl") for name in bucket.written)
    assert not (tmp_path / "gs:").exists()


def test_a_finished_model_is_read_from_a_bucket(monkeypatch, tmp_path):
    from random_model import MODEL, random_params

    from lure_jax.inference import weights

    mount(monkeypatch, tmp_path)
    params = random_params()
    weights.save(epath.Path(f"{PREFIX}/model"), params, MODEL)
    loaded = weights.load(f"{PREFIX}/model")
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params)


def test_training_data_is_rendered_into_a_bucket_and_read_from_it(monkeypatch, tmp_path):
    from lure_jax.data import catalog, sources

    bucket, name = mount(monkeypatch, tmp_path / "bucket"), "synthetic_scenes/debug"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(catalog.DataError, match=f"not built in {PREFIX}/data"):
        catalog.open_split(name, f"{PREFIX}/data", "train")
    there, here = (sources.render(name, folder) for folder in (f"{PREFIX}/data", tmp_path / "data"))
    assert there.counts == here.counts and str(there.path).startswith(f"{PREFIX}/data/{name}")
    far, near = (catalog.open_split(name, folder, "train") for folder in (f"{PREFIX}/data", tmp_path / "data"))
    assert len(far) == len(near) > 0
    for key in ("visible", "infrared", "labels"):
        np.testing.assert_array_equal(far[0][key], near[0][key])
    written = len(bucket.written)
    sources.render(name, f"{PREFIX}/data")  # is there already
    catalog.open_split(name, f"{PREFIX}/data", "val")
    assert len(bucket.written) == written
    assert len(list((tmp_path / "cache" / "lure_jax" / "data" / "debug").iterdir())) == 1
