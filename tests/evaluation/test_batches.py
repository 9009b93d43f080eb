"""Evaluation over eight fake devices, in a process of its own, gives what one device gives."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from devices import environment
from PIL import Image

from lure_jax.cli import main
from lure_jax.evaluation import batches
from tfds_builders.scene_render import render_scene

SIZES = ((192, 208), (180, 240), (192, 256))  # three paddings of one shape to compile
SCRIPT = """
import json, sys, jax, numpy as np
import jax.numpy as jnp
import flax.linen as nn
from absl import flags
flags.FLAGS.mark_as_parsed()
from lure_jax.cli import main
from configs import common, quickstart
from lure_jax.data import sources
from lure_jax.evaluation import batches, training
from lure_jax.models.lure import FusionOutput
from lure_jax.training.mesh import replicated
assert jax.device_count() == 8
mesh = batches.all_devices()
eleven = np.arange(11 * 6, dtype=np.float32).reshape(11, 2, 3)
(spread,) = batches.scatter(mesh, eleven)
print(json.dumps({
    "shape": spread.shape, "shards": sorted({shard.data.shape for shard in spread.addressable_shards}),
    "devices": len({shard.device for shard in spread.addressable_shards}),
    "same": bool((batches.gather(jax.jit(lambda x: 2 * x)(spread), 11) == 2 * eleven).all()),
}))
def see(image):
    jax.debug.inspect_array_sharding(image, callback=lambda s: on.append((len(s.device_set), s.is_fully_replicated)))

class Mean(nn.Module):  # fuses by the mean and restores by a factor
    @nn.compact
    def __call__(self, visible, infrared, *text):
        see(visible)
        return FusionOutput(self.param("gain", nn.initializers.ones, ()) * (visible + infrared) / 2, ())
    def tokens(self, ids):
        return ids
    def restore(self, image, ids):
        return self(image, image).image * (1 - ids[:, :1, None, None] / 1000)

on, config = [], quickstart.get_config()
debug = "synthetic_scenes/debug"
config.data.update(dict(data_dir=sys.argv[1], fusion=(common.pairs(debug),)))
config.data.restoration = (common.clean(debug, "visible", "visible", ("noise", "haze")),
                           common.clean(debug, "infrared", "infrared", ("stripe",)))
sources.prepare(config)
training.evaluate_fused = lambda *lumas: {"SD": lumas[0].std((1, 2)) + lumas[1].mean() / 1000}
evaluate = training.build_evaluator(config, Mean())
params = {"gain": jnp.float32(0.9)}
(one, sheet), (many, other) = (evaluate(p, 0, "rule") for p in (params, jax.device_put(params, replicated(mesh))))
print(json.dumps([one, many, sorted(set(on)), int(np.abs(sheet["fused"].astype(int) - other["fused"]).max())]))
main(["evaluate", *sys.argv[2:]], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Ten small pairs of three sizes; one fused image has another size than its sources."""
    root = tmp_path_factory.mktemp("batches")
    scenes = [render_scene(5, index, *size) for index, size in enumerate(SIZES)]
    for index in range(10):
        scene = scenes[index % 3]
        grey = np.roll(scene.infrared[..., 0], index, 1)
        fused = np.maximum(scene.visible, grey[..., None])
        for name, image in (("visible", scene.visible), ("infrared", grey), ("fused", fused)):
            (root / name).mkdir(exist_ok=True)
            Image.fromarray(image if index != 4 or name != "fused" else image[1:]).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def told(folders):
    where = [f"--{name}={folders / name}" for name in ("fused", "visible", "infrared")]
    command = [sys.executable, "-c", SCRIPT, str(folders / "data"), *where, f"--json={folders / 'sharded.json'}"]
    return subprocess.run(command, env=environment(8), capture_output=True, text=True, timeout=300)


def test_a_batch_is_spread_over_all_devices_and_comes_back_whole(told):
    first = json.loads(told.stdout.splitlines()[0])
    assert first == {"shape": [16, 2, 3], "shards": [[2, 2, 3]], "devices": 8, "same": True}, told.stderr


def test_the_evaluation_in_training_does_not_depend_on_the_mesh(told):
    one, many, placed, difference = json.loads(told.stdout.splitlines()[1])
    assert set(one) == set(many) >= {"psnr/visible/noise", "psnr_reproduced/infrared", "psnr/restored", "fusion/SD"}
    np.testing.assert_allclose(list(one.values()), list(many.values()), rtol=1e-6)
    assert placed == [[1, True], [8, False]] and difference <= 1


@pytest.mark.slow
def test_lure_evaluate_on_eight_devices_is_that_on_one(told, folders):
    where = [f"--{name}={folders / name}" for name in ("fused", "visible", "infrared")]
    alone = CliRunner().invoke(main, ["evaluate", *where, f"--json={folders / 'alone.json'}"])
    assert alone.exit_code == 2 and "1 of 10 pairs failed" in alone.output
    sharded, single = (json.loads((folders / f"{name}.json").read_text()) for name in ("sharded", "alone"))
    assert sharded["failures"] == single["failures"] and len(single["images"]) == 9
    assert list(sharded["images"]) == list(single["images"])
    for stem, scores in single["images"].items():
        for name, value in scores.items():
            assert sharded["images"][stem][name] == pytest.approx(value, rel=2e-5, abs=2e-6), (stem, name)


def test_without_a_mesh_nothing_is_done():
    array = np.ones((3, 2))
    assert batches.all_devices() is None and batches.mesh_of({"a": array}) is None
    assert batches.scatter(None, array)[0] is array
