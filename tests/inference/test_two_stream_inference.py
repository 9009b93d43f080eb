"""A finished two-stream model through the Fuser and the command line."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from ml_collections import ConfigDict

from lure_jax.cli import main
from lure_jax.inference import images, weights
from lure_jax.inference.fuser import Fuser
from lure_jax.models import registry

MODEL = {"name": "two_stream", "preset": "tiny", "dtype": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = registry.build(ConfigDict(MODEL))
    params = nn.unbox(jax.jit(lambda key: registry.initialise(model, key))(jax.random.key(0)))
    folder = tmp_path_factory.mktemp("two_stream") / "model"
    weights.save(folder, params, MODEL)
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    rng, where = np.random.default_rng(0), tmp_path_factory.mktemp("pair")
    images.write(where / "v.png", rng.integers(0, 255, (30, 40, 3), np.uint8))
    images.write(where / "i.png", rng.integers(0, 255, (30, 40), np.uint8))
    return where / "v.png", where / "i.png"


def lure(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_round_trip(folder):
    released = weights.load(folder)
    assert released.config == MODEL and set(released.params) == {
        "visible", "infrared", "decoder", "mix_0", "mix_1", "mix_2", "mix_3",
    }  # fmt: skip


def test_fuse_ignores_auto_in_silence_and_warns_of_a_sentence_once(folder, pair, tmp_path):
    for prompt, told in (("auto", 0), ("dark and noisy", 1)):
        output = tmp_path / f"{told}.png"
        arguments = ("--visible", pair[0], "--infrared", pair[1], "--output", output, "--model", folder)
        result = lure("fuse", *arguments, "--prompt", prompt)
        assert result.exit_code == 0 and result.output.count("Warning") == told, result.output
        assert result.output.count("reads no text: the prompt 'dark and noisy' is ignored") == told
    np.testing.assert_array_equal(*(images.read(tmp_path / f"{told}.png", "visible") for told in (0, 1)))


def test_restore_is_one_sentence(folder, pair, tmp_path):
    arguments = ("--input", pair[0], "--output", tmp_path / "o.png", "--modality", "visible", "--model", folder)
    result = lure("restore", *arguments)
    assert result.exit_code == 2 and "two_stream model fuses alone" in result.output
    assert len(result.output.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_fuser_pads_any_size_and_has_no_conditions_to_detect(folder):
    fuser = Fuser.load(folder, sizes=[(40, 48)])
    rng = np.random.default_rng(1)
    visible, infrared = rng.random((21, 35, 3), np.float32), rng.random((21, 35), np.float32)
    released = weights.load(folder)
    plain = released.model.apply({"params": released.params}, visible[None], infrared[None, ..., None]).image[0]
    np.testing.assert_allclose(fuser.fuse(visible, infrared), plain, atol=1e-4)
    with pytest.raises(ValueError, match="neither restores nor detects"):
        fuser.detect(visible, "visible")
