"""The recipe that what is fitted beside the network is tested with."""

import pytest

from configs import quickstart
from lure_jax.data import sources


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The quickstart on the least drawn scenes, with few samples for the condition head and the blur kernel."""
    config = quickstart.get_config()
    config.data.data_dir = str(tmp_path_factory.mktemp("data"))
    for row in config.data.restoration:
        row.dataset = "synthetic_scenes/debug"
    config.data.fusion = ()
    config.condition_head.update(dict(samples=16, crops=(32, 48)))
    config.blur_kernel.update(dict(samples=24, crop=96))
    sources.prepare(config)
    return config
