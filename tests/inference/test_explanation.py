"""Maps of Text-Guided Attention against the formula in numpy; the sheet's pixels; `lure explain` as a user meets it."""

import cv2
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from random_model import MODEL, random_params, save_random_model

from lure_jax.cli import main
from lure_jax.inference import images, sheet, weights
from lure_jax.inference.explanation import Explanation, Level, explain
from lure_jax.inference.fuser import Fuser
from lure_jax.text.conditions import condition_id
from lure_jax.text.prompts import prompt_ids
from lure_jax.text.source import Text

RNG = np.random.default_rng(0)
IMAGE = RNG.random((26, 37, 3)).astype(np.float32)  # padded at both sides


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_random_model(tmp_path_factory.mktemp("explain") / "model")


@pytest.fixture(scope="module")
def fuser(folder):
    return Fuser.load(folder)


def _dense(x, params):
    return x @ params["kernel"] + params.get("bias", 0)


def _shifted(x, kernel):
    """Depthwise 3x3 with zero border, one channel at a time."""
    return np.stack([cv2.filter2D(x[..., c], -1, kernel[..., c], borderType=cv2.BORDER_CONSTANT)
                     for c in range(x.shape[-1])], -1)  # fmt: skip


def _by_hand(params, x, tokens, heads):
    """The attention (L,h,w) averaged over heads, and |gamma|, |beta| (h,w), of features (h,w,C)."""
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    normed = normed * params["norm"]["scale"] + params["norm"]["bias"]
    query = _dense(_shifted(normed, params["depthwise"]["kernel"]), params["query"])
    key, value = _dense(tokens, params["key"]), _dense(tokens, params["value"])
    query, key, value = (np.split(a, heads, -1) for a in (query, key, value))
    logits = np.stack([q @ k.T / np.sqrt(k.shape[-1]) for q, k in zip(query, key, strict=True)])  # heads,h,w,L
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = np.concatenate([w @ v for w, v in zip(weights, value, strict=True)], -1)
    affine = _dense(np.asarray(jax.nn.gelu(_dense(out, params["hidden"]))), params["modulation"])
    gamma, beta = (np.abs(a).mean(-1) for a in np.split(affine, 2, -1))
    return weights.mean(0).transpose(2, 0, 1), gamma, beta


def test_the_maps_where_the_text_enters_are_the_formulas(fuser):
    found = fuser.explain(IMAGE, "visible", "noise and haze")
    assert set(found.prompts) == {"noise", "haze"} and [level.stride for level in found.levels] == [8, 4, 2]
    model, params = fuser._model, jax.device_get(fuser._network.params)
    padded = np.pad(IMAGE, ((0, 6), (0, 3), (0, 0)), mode="edge")[None]
    conditions = [condition_id("visible", name) for name in found.prompts]
    ids, mask = prompt_ids(conditions, 2)[None], np.ones((1, 32, 40), np.float32)
    described, _ = fuser._network.describe(fuser._network.repair(padded, ids, mask), mask)
    tokens = params["text"]["table"][conditions].reshape(-1, model.sizes.text)
    heads = model.sizes.heads_at(len(model.sizes.widths) - 1)
    features = np.asarray(described.bottom[0])
    attention, gamma, beta = _by_hand(params["encoder"]["bottom"]["tga"], features, tokens, heads)
    level = found.levels[0]
    np.testing.assert_allclose(level.attention, attention.reshape(2, 8, 4, 5), atol=1e-4)
    np.testing.assert_allclose(level.gamma, gamma, atol=1e-3)
    np.testing.assert_allclose(level.beta, beta, atol=1e-3)


def test_maps_cover_the_image_alone_and_shares_sum_to_one(fuser):
    found = fuser.explain(IMAGE, "visible", "noise and haze")
    for level in found.levels:
        size = tuple(-(-side // level.stride) for side in IMAGE.shape[:2])
        assert level.attention.shape == (2, 8, *size) and level.gamma.shape == level.beta.shape == size
        np.testing.assert_allclose(level.attention.sum((0, 1)), 1, atol=1e-5)


def test_auto_explains_what_was_found(tmp_path):
    """A threshold of 0 is passed by everything: auto then reads the two most probable conditions."""
    names = ("visible/low_light", "visible/over_exposure", "visible/haze", "visible/rain", "visible/snow",
             "visible/noise", "visible/blur")  # fmt: skip
    fuser = Fuser.load(save_random_model(tmp_path / "model", thresholds=dict.fromkeys(names, 0.0)))
    probability = fuser.detect(IMAGE, "visible")
    best = sorted(probability, key=probability.get, reverse=True)[:2]
    assert fuser.explain(IMAGE, "visible").prompts == tuple(name.replace("_", " ") for name in best)


def test_a_batch_and_an_unknown_modality_are_refused(fuser):
    with pytest.raises(ValueError, match="batch of 2"):
        fuser.explain(np.stack([IMAGE, IMAGE]), "visible")
    with pytest.raises(ValueError, match="modality is 'radar'"):
        fuser.explain(IMAGE, "radar")
    small = Fuser.load("lure_tiny", memory="900MB")
    with pytest.raises(ValueError, match=r"is 4000x3000 and cannot be explained in tiles; scale it to \d+x\d+"):
        small.explain(np.zeros((3000, 4000, 3), np.uint8), "visible")


def test_a_model_whose_text_acts_on_channels_has_no_maps(tmp_path):
    config = MODEL | {"preset": "tiny_channel_affine"}
    weights.save(tmp_path / "model", random_params(config=config), config)
    with pytest.raises(ValueError, match="tiny_channel_affine model acts on whole channels: it has no maps"):
        Fuser.load(tmp_path / "model").explain(IMAGE, "visible")


def _section(prompts, gamma, attention):
    image = np.full((64, 96, 3), 0.25, np.float32)
    changed = image.copy()
    changed[:, 48:] = 1
    level = Level(2, attention, gamma, np.zeros_like(gamma))
    return sheet.Section("visible: noise", image, changed, image, None, Explanation(prompts, (level,)))


def _cell(picture, row, column):
    """The picture of a cell without its frame's neighbours: 300 x 200 pixels of a 96 x 64 image."""
    top = sheet.HEAD + row * (200 + sheet.BAND + sheet.GAP) + sheet.BAND
    left = column * (sheet.WIDTH + sheet.GAP)
    return picture[top : top + 200, left : left + sheet.WIDTH].astype(int)


def test_the_sheet_puts_maps_where_they_are_large():
    gamma = np.zeros((32, 48), np.float32)
    gamma[:, 24:] = 0.8
    attention = np.full((1, 8, 32, 48), 0.125, np.float32)
    drawn = sheet.sheet([_section(("noise",), gamma, attention)])
    assert drawn.shape == (sheet.HEAD + 2 * (200 + sheet.BAND + sheet.GAP), 3 * 306 - sheet.GAP, 3)
    bright, dark = np.array([253, 231, 37]), np.array([68, 1, 84])  # the ends of viridis
    for row, column in ((0, 2), (1, 1)):  # what the prompt changed; gamma
        cell = _cell(drawn, row, column)
        assert np.abs(cell[:, 170:] - bright).max() < 6 and np.abs(cell[:, :130] - dark).max() < 6
    assert np.abs(_cell(drawn, 1, 2) - dark).max() < 2  # a flat map
    assert np.abs(_cell(drawn, 0, 0) - 64).max() < 2


def test_several_conditions_have_a_map_each_of_their_share():
    share = np.linspace(0, 1, 48, dtype=np.float32)[None].repeat(32, 0)
    attention = np.stack([np.stack([x / 8] * 8) for x in (share, 1 - share)])
    drawn = sheet.sheet([_section(("noise", "haze"), share, attention)])
    one, other = (_cell(drawn, 1, column)[100, :, 1] for column in (0, 1))
    assert (np.diff(one[10:290]) >= -1).all() and (np.diff(other[10:290]) <= 1).all() and one[-5] - one[5] > 150


def _explain(model, tmp_path, *more):
    arguments = ("explain", "--model", model, "--output", tmp_path / "sheet.png", *more)
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def pair(tmp_path):
    visible, infrared = tmp_path / "v.png", tmp_path / "i.png"
    images.write(visible, RNG.integers(0, 256, (26, 37, 3), np.uint8))
    images.write(infrared, RNG.integers(0, 256, (26, 37), np.uint8))
    return visible, infrared


def test_the_command_draws_a_pair(folder, pair, tmp_path):
    words = ("--prompt", "noise and haze, the thermal has stripes")
    result = _explain(folder, tmp_path, "--visible", pair[0], "--infrared", pair[1], *words)
    assert result.exit_code == 0, result.output
    height, width = images.size(tmp_path / "sheet.png")
    section = sheet.HEAD + 4 * (round(300 * 26 / 37) + sheet.BAND + sheet.GAP)
    assert (height, width) == (2 * section, 6 * 306 - sheet.GAP)
    assert {path.name for path in tmp_path.iterdir()} == {"v.png", "i.png", "sheet.png"}
    again = _explain(folder, tmp_path, "--visible", pair[0])
    assert again.exit_code == 2 and "--overwrite" in again.output


def test_one_image_alone_and_its_own_sentence(folder, pair, tmp_path):
    result = _explain(folder, tmp_path, "--infrared", pair[1], "--prompt", "flimsy stripes")
    assert result.exit_code == 0 and "flimsy" in result.output
    assert images.size(tmp_path / "sheet.png")[1] == 3 * 306 - sheet.GAP


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "give --visible, --infrared or both"),
        (("--visible", "gone.png"), "gone.png does not exist"),
        (("--visible", "v.png", "--infrared", "small.png"), "v.png is 37x26 and "),
        (("--visible", "v.png", "--model", "ssvif_tiny"), "fuses alone"),
    ],
)
def test_bad_input_is_one_sentence(folder, pair, tmp_path, given, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write(tmp_path / "small.png", np.zeros((20, 20), np.uint8))
    result = _explain(folder, tmp_path, *given)
    assert result.exit_code == 2 and message in result.output and len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "sheet.png").exists()


class Sown:
    """A network of one place, whose maps are given."""

    def __init__(self, read, present):
        rng = np.random.default_rng(1)
        self.weights = rng.random((1, 6, 2, present.shape[1]))  # 2 x 3 pixels, two heads
        self.affine = rng.standard_normal((1, 2, 3, 8))
        self.told = read, present, {"up_0": {"tga": {"weights": (self.weights,), "affine": (self.affine,)}}}

    def maps(self, image, modality, prompt, mask):
        return self.told


def test_sentences_as_clip_reads_them():
    text = Text(np.zeros((1, 5, 4)), np.array([[True, True, True, False, False]]), None)
    network = Sown(text, text.mask)
    found = explain(network, np.zeros((1, 4, 6, 3)), "visible", text, None, (4, 6))
    (level,) = found.levels
    assert found.prompts == ("the sentence",) and level.stride == 2
    expected = network.weights[0, :, :, :3].mean(1).T.reshape(1, 3, 2, 3)
    np.testing.assert_allclose(level.attention, expected, rtol=1e-6)


def test_conditions_of_several_lengths_and_an_empty_slot():
    ids = prompt_ids([condition_id("visible", "haze"), condition_id("visible", "noise")], 3)[None]
    present = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0]], bool)  # four tokens a slot
    network = Sown(ids, present)
    found = explain(network, np.zeros((1, 4, 6, 3)), "visible", ids, None, (3, 5))
    (level,) = found.levels
    assert found.prompts == ("haze", "noise") and level.attention.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(level.attention[1, 1], network.weights[0, :, :, 5].mean(1).reshape(2, 3), rtol=1e-6)
    np.testing.assert_allclose(level.beta, np.abs(network.affine[0, ..., 4:]).mean(-1), rtol=1e-6)
