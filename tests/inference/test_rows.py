"""One image split by rows over eight fake devices, against one device; as a script, the process with the devices."""

import json
import subprocess
import sys

import numpy as np
import pytest
from devices import environment


def compare():
    """Largest differences of a network with Restormer's blocks and of a two-stream one, and the rows of a device."""
    import flax.linen as nn
    import jax
    from ml_collections import ConfigDict
    from random_model import MODEL, random_params

    from lure_jax.inference.fuser import Fuser
    from lure_jax.inference.weights import Released
    from lure_jax.models import registry
    from lure_jax.models.sizes import Sizes
    from lure_jax.models.two_stream import TwoStreamSizes

    # widths of a few channels, for compilations of a few seconds
    registry.PRESETS["lure"]["small"] = Sizes(2, (8, 16), (1, 1), (1, 2), 12, 0, 0, 16, 1.5)
    registry.PRESETS["two_stream"]["tiny"] = TwoStreamSizes((4, 8), (0, 1))
    rng = np.random.default_rng(0)
    visible, infrared = rng.random((198, 61, 3), np.float32), rng.random((198, 61), np.float32)
    found = {}
    for config in (MODEL | {"preset": "small"}, {"name": "two_stream", "preset": "tiny", "dtype": "float32"}):
        model = registry.build(ConfigDict(config))
        if config["name"] == "lure":
            params = random_params(config=config)
        else:
            params = nn.unbox(jax.jit(lambda key: registry.initialise(model, key))(jax.random.key(0)))  # noqa: B023
        released = Released(model, params, config, np.full(13, 0.5, np.float32))
        one, split = Fuser(released), Fuser(released, shard_rows=True)
        results = [fuser.fuse(visible, infrared) for fuser in (one, split)]
        found[config["name"]] = [float(np.abs(results[0] - results[1]).max()), float(results[0].std())]
        if config["name"] == "lure":
            found["detected"] = [fuser.detect(visible, "visible") for fuser in (one, split)]
            unit, mask = split._pad({"visible": visible[None]}, (200, 64))
            described, _ = split._network.describe(unit["visible"], mask)
            found["rows"] = [shard.data.shape[1] for shard in described.skips[0].addressable_shards]
    print(json.dumps(found))


@pytest.mark.slow
def test_eight_devices_fuse_the_rows_of_one_image():
    result = subprocess.run([sys.executable, __file__], env=environment(8), capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    for name in ("lure", "two_stream"):
        difference, spread = found[name]
        assert difference < 1e-4 and spread > 0.05, name
    one, split = found["detected"]
    np.testing.assert_allclose(list(split.values()), list(one.values()), atol=1e-5)
    assert found["rows"] == [14] * 8  # at stride 2; 198 rows become 224, the next multiple of 8 * 4


if __name__ == "__main__":
    compare()
