"""An engine with a random model of the smallest preset."""

import pytest
from random_model import save_random_model

from lure_jax.inference import weights
from lure_jax.serve.engine import Engine
from lure_jax.serve.limits import Limits


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return save_random_model(tmp_path_factory.mktemp("serve") / "model")


@pytest.fixture
def engine(model_folder):
    made = Engine(weights.load(model_folder), "random", Limits())
    yield made
    made.close()
