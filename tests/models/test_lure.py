"""The whole network: sizes, identity start, text, padding, precision and the presets' numbers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lure_jax.models import registry
from lure_jax.models.lure import Lure, mix_features
from lure_jax.models.sizes import PRESETS, Sizes
from lure_jax.text.asked import ASKING, PARTS, REFINING
from lure_jax.text.conditions import CONDITIONS, condition_id
from lure_jax.text.prompts import prompt_ids


def config(**changes):
    return ConfigDict(dict(name="lure", preset="tiny", text="table", dtype="float32", remat="none") | changes)


def ids(modality, *names):
    return jnp.asarray(prompt_ids([condition_id(modality, name) for name in names], 2))[None]


@pytest.fixture(scope="module")
def tiny():
    """The tiny model, its initial parameters, and parameters where every branch is alive."""
    model = registry.build(config())
    params = nn.unbox(jax.jit(lambda key: registry.initialise(model, key))(jax.random.key(0)))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    alive = tree.unflatten([leaf + 0.05 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])
    alive["encoder"]["sharpening"]["share"] = np.array([0.5], np.float32)  # it adds little to smooth images
    return model, params, alive


def pair(height, width, seed=0):
    rng = np.random.default_rng(seed)
    smooth = jax.image.resize(rng.random((1, 4, 4, 4)), (1, height, width, 4), "linear").astype(jnp.float32)
    return smooth[..., :3], smooth[..., 3:]


def asking(text, *parts):
    """A text under which these parts act."""
    named = [bool(set(parts) & set(ASKING.get(c.name, ()))) for c in CONDITIONS]
    return text._replace(asked=jnp.asarray([named] * len(text.mask)))


@functools.partial(jax.jit, static_argnums=0, static_argnames="parts")
def fuse(model, params, visible, infrared, mask=None, parts=PARTS):
    tokens = [model.apply({"params": params}, ids(m, "clean"), method="tokens") for m in ("visible", "infrared")]
    return model.apply({"params": params}, visible, infrared, *(asking(text, *parts) for text in tokens), mask)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 40), (48, 64)])
def test_any_size_in_same_size_out(tiny, size):
    model, _, alive = tiny
    output = fuse(model, alive, *pair(*size))
    assert output.image.shape == (1, *size, 3)
    assert np.isfinite(output.image).all() and output.image.min() >= 0 and output.image.max() <= 1


def test_features_are_a_pyramid_below_the_stem(tiny):
    model, _, alive = tiny
    features = fuse(model, alive, *pair(48, 64)).features
    assert [f.shape[1:] for f in features] == [(12, 16, 36), (6, 8, 80)]


def test_features_of_equal_images_do_not_depend_on_the_choice(tiny):
    model, _, alive = tiny
    tokens = model.apply({"params": alive}, ids("visible", "clean"), method="tokens")
    latent = model.apply({"params": alive}, pair(48, 64)[0], tokens, method="encode")
    w = np.random.default_rng(0).random((1, 24, 32, 24)).astype(np.float32)
    for mixed, own in zip(mix_features(latent, latent, w), latent.features, strict=True):
        np.testing.assert_allclose(mixed, own, atol=1e-5)


def test_starts_near_the_identity(tiny):
    model, params, _ = tiny
    visible, _ = pair(64, 64)
    tokens = model.apply({"params": params}, ids("visible", "clean"), method="tokens")
    restored = model.apply({"params": params}, visible, tokens, method="restore")
    assert -10 * np.log10(np.mean((restored - visible) ** 2)) > 15


def test_text_has_no_effect_at_first_and_then_acts_per_pixel(tiny):
    model, params, alive = tiny
    visible, _ = pair(48, 64)

    def restored(weights, name):
        tokens = model.apply({"params": weights}, ids("visible", name), method="tokens")
        return np.asarray(model.apply({"params": weights}, visible, tokens, method="restore"))

    np.testing.assert_array_equal(restored(params, "noise"), restored(params, "haze"))
    difference = restored(alive, "noise") - restored(alive, "haze")
    assert np.abs(difference).max() > 1e-3 and difference.std() > 1e-4


def test_an_absent_second_prompt_changes_nothing(tiny):
    model, _, alive = tiny
    visible, _ = pair(48, 64)
    one = model.apply({"params": alive}, ids("visible", "noise")[:, :1], method="tokens")
    two = model.apply({"params": alive}, ids("visible", "noise"), method="tokens")
    assert one.tokens.shape[1] * 2 == two.tokens.shape[1]
    results = [model.apply({"params": alive}, visible, tokens, method="restore") for tokens in (one, two)]
    np.testing.assert_allclose(*results, atol=1e-5)


@pytest.mark.parametrize("size", [(40, 48), (16, 64)])
def test_padded_equals_unpadded(tiny, size):
    model, _, alive = tiny
    # What undoes a blur has another period then: that little is left of it, tests of that part say
    parts = tuple(part for part in PARTS if part != "sharpening")
    visible, infrared = pair(*size)
    expected = fuse(model, alive, visible, infrared, parts=parts)
    pad = ((0, 0), (0, 64 - size[0]), (0, 96 - size[1]), (0, 0))
    mask = jnp.pad(jnp.ones((1, *size)), pad[:3])
    output = fuse(model, alive, *(jnp.pad(x, pad, constant_values=0.5) for x in (visible, infrared)), mask, parts=parts)
    np.testing.assert_allclose(output.image[:, : size[0], : size[1]], expected.image, atol=1e-4)


def test_describe_reads_no_text_and_its_logits_ignore_padding(tiny):
    model, _, alive = tiny
    visible, _ = pair(40, 48)
    mask = jnp.pad(jnp.ones((1, 40, 48)), ((0, 0), (0, 24), (0, 16)))
    padded = jnp.pad(visible, ((0, 0), (0, 24), (0, 16), (0, 0)), constant_values=1)
    plain = model.apply({"params": alive}, visible, method="describe").logits
    np.testing.assert_allclose(model.apply({"params": alive}, padded, mask, method="describe").logits, plain, atol=1e-4)


@pytest.mark.parametrize("part", [part for part in PARTS if part not in REFINING])
def test_a_part_acts_where_the_text_asks_and_nothing_changes_elsewhere(tiny, part):
    model, params, alive = tiny
    visible, _ = pair(48, 64)

    def latent(params, *parts):
        text = asking(model.apply({"params": params}, ids("visible", "clean"), method="tokens"), *parts)
        return model.apply({"params": params}, visible, text, method="encode").z

    without = alive | {
        "encoder": alive["encoder"] | {part: params["encoder"][part]}
    }  # as it begins: nought
    np.testing.assert_array_equal(latent(alive), latent(without, part))
    assert np.abs(latent(alive, part) - latent(alive)).max() > 2e-3


def test_bfloat16_is_close_and_its_parameters_are_float32(tiny):
    model, _, alive = tiny
    half = registry.build(config(dtype="bfloat16"))
    params = jax.eval_shape(lambda key: registry.initialise(half, key), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    visible, infrared = pair(48, 64)
    difference = fuse(model, alive, visible, infrared).image - fuse(half, alive, visible, infrared).image
    assert 0 < np.abs(difference).mean() < 0.03


@pytest.mark.slow
def test_remat_keeps_less_and_changes_neither_value_nor_gradient():
    kept, results = {}, {}
    for remat in ("none", "dots", "blocks"):
        network = Lure(Sizes(2, (8,), (1,), (2,), 12, 1, 0, 16, 1.5), remat=remat)
        abstract = nn.unbox(jax.eval_shape(lambda key: registry.initialise(network, key), jax.random.key(0)))  # noqa: B023
        rng = np.random.default_rng(0)
        params = jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), abstract)  # noqa: B023

        def loss(params):
            return fuse(network, params, *pair(64, 64)).image.mean()  # noqa: B023

        residuals = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params)  # noqa: B023
        kept[remat] = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(residuals))
        if remat != "blocks":
            run = jax.jit(jax.value_and_grad(loss)).lower(params)
            results[remat] = run.compile(compiler_options={"xla_backend_optimization_level": 0})(params)
    (value, gradient), (value_r, gradient_r) = results.values()
    np.testing.assert_allclose(value_r, value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient_r, gradient)
    assert kept["blocks"] < 0.7 * kept["dots"] < 0.7 * kept["none"], kept


def test_older_model_files_say_false_for_no_remat():
    assert registry.build(config(remat=False)) == registry.build(config(remat="none"))


def test_an_unknown_remat_policy_is_named():
    with pytest.raises(ValueError, match="config.model.remat='all' is not known; choose one of none, blocks, dots"):
        registry.build(config(remat="all"))


@pytest.mark.parametrize(
    ("preset", "millions"), [("tiny", (0.25, 0.7)), ("small", (2.7, 3.3)), ("base", (10, 13)), ("large", (25, 29))]
)
def test_parameter_counts(preset, millions):
    model = registry.build(config(preset=preset))
    params = jax.eval_shape(lambda key: registry.initialise(model, key), jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6
    assert millions[0] < count < millions[1]


def products(jaxpr, branch=max) -> float:
    """Multiply-adds times two of all matrix products and convolutions; of all branches, those that `branch` chooses."""
    total = 0.0
    for equation in jaxpr.eqns:
        out = np.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * out * np.prod([equation.invars[0].aval.shape[i] for i in contracted])
        elif equation.primitive.name == "conv_general_dilated":
            total += 2 * out * np.prod(equation.invars[1].aval.shape[:3])
        for name, value in equation.params.items():
            if name == "branches":
                total += branch(products(closed.jaxpr, branch) for closed in value)
            elif hasattr(inner := getattr(value, "jaxpr", value), "eqns"):
                total += products(inner, branch)
    return total


def test_tiny_fuses_640x480_for_about_ten_gigaflop(tiny):
    model, params, _ = tiny
    shapes = [jax.ShapeDtypeStruct((1, 480, 640, channels), jnp.float32) for channels in (3, 1)]
    traced = jax.make_jaxpr(lambda v, i: fuse(model, params, v, i).image)(*shapes)
    assert products(traced.jaxpr, min) < 10.3e9
    assert products(traced.jaxpr) < 40e9  # all parts are asked for, of both images


def test_widths_divide_among_heads():
    for sizes in PRESETS.values():
        assert isinstance(sizes, Sizes)
        assert all(width % heads == 0 for width, heads in zip(sizes.widths, sizes.heads, strict=True))
        assert sizes.latent % sizes.heads[0] == 0 and min(sizes.widths[0], sizes.latent) >= 3 * sizes.stem**2


@pytest.mark.parametrize(("key", "value"), [("name", "densefuse"), ("preset", "huge"), ("dtype", "float16")])
def test_unknown_values_name_their_key(key, value):
    with pytest.raises(ValueError, match=f"config.model.{key}='{value}'"):
        registry.build(config(**{key: value}))
