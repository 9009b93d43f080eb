"""SSVIF's stages on a toy network: terms, and how much of which gradient reaches what."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from lure_jax.models.blocks import Pointwise
from lure_jax.models.lure import FusionOutput
from lure_jax.objectives import registry, ssvif
from lure_jax.objectives.schedules import LossAverage

STEPS = 10


class Toy(nn.Module):
    """One layer of features at stride 2, and a grey image of a learned blend."""

    @nn.compact
    def __call__(self, visible, infrared, visible_text=None, infrared_text=None, pixel_mask=None):
        both = jnp.concatenate([visible, infrared], -1)
        features = Pointwise(6, name="features")(both)[:, ::2, ::2]
        image = nn.sigmoid(Pointwise(1, name="blend")(both))
        return FusionOutput(jnp.broadcast_to(image, visible.shape), (features,))


class ToyHeads(nn.Module):
    clusters: int = 5

    @nn.compact
    def __call__(self, features, image):
        return (
            Pointwise(self.clusters, name="feature_head")(features[0][:, ::2, ::2]),
            Pointwise(self.clusters, name="pixel_head")(image[:, ::4, ::4]),
        )


MODEL, HEADS = Toy(), ToyHeads()
IN_F, IN_HEADS = ("features", "blend"), ("feature_head", "pixel_head")


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    visible, infrared = (jnp.asarray(rng.random((2, 16, 16, n)), jnp.float32) for n in (3, 1))
    labels = jnp.asarray(rng.integers(0, 5, (2, 16, 16)), jnp.int32)
    return {
        "visible": visible, "infrared": infrared, "visible_reference": visible, "infrared_reference": infrared,
        "labels": labels.at[0, :8].set(255),
    }  # fmt: skip


@pytest.fixture(scope="module")
def params(batch):
    keys = jax.random.split(jax.random.key(0))
    output, model = MODEL.init_with_output(keys[0], batch["visible"], batch["infrared"])
    heads = HEADS.init(keys[1], output.features, output.image)
    return nn.unbox(model["params"] | heads["params"])


@functools.cache
def compiled(objective, changes):
    stage = ConfigDict(dict(objective=objective, steps=STEPS, weights="dynamic") | dict(changes))
    built = registry.build(stage, MODEL, HEADS)

    def loss(params, batch, aux):
        return built.loss(params, batch, jax.random.key(3), 0, aux)

    return built, jax.jit(jax.value_and_grad(loss, has_aux=True))


def evaluate(objective, params, batch, aux=None, previous=None, **changes):
    built, run = compiled(objective, tuple(changes.items()))
    (value, (metrics, aux)), gradient = run(params, batch, built.begin(previous) if aux is None else aux)
    return float(value), {name: float(v) for name, v in metrics.items()}, aux, gradient


def close(one, other, parts, scale=1.0):
    for part in parts:
        for a, b in zip(*map(jax.tree.leaves, (one[part], other[part])), strict=True):
            np.testing.assert_allclose(a, scale * b, rtol=2e-3, atol=2e-6)


def size(tree):
    return sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))


def fusion_gradient(params, batch):
    def loss(params):
        image = MODEL.apply({"params": params}, batch["visible"], batch["infrared"]).image
        return ssvif.fusion_loss(image, batch["visible_reference"], batch["infrared_reference"])[0]

    return jax.jit(jax.grad(loss))(params)


PREVIOUS = LossAverage(jnp.asarray(5), jnp.asarray(0.4))


def test_stage_one_is_the_sum_of_its_terms_and_heads_do_not_move_the_network(params, batch):
    value, m, aux, gradient = evaluate("ssvif_heads", params, batch)
    l_f = m["intensity"] + 10 * m["gradient"] + 0.5 * m["similarity"]
    l_c = m["cross"] + 2 * m["entropy"] + m["equivariance"] + 0.1 * m["smoothness"]
    np.testing.assert_allclose([m["fusion"], m["consistency"], value], [l_f, l_c, l_f + l_c], rtol=1e-5)
    close(gradient, fusion_gradient(params, batch), IN_F)
    assert all(size(gradient[part]) > 1e-3 for part in IN_HEADS)
    assert int(aux.count) == 1 and abs(float(aux.mean) - l_f) < 1e-5


def test_stage_two_scales_the_gradient_into_the_network_and_not_that_of_the_heads(params, batch):
    """Total = g(L_f) w_f / Lbar_f + a w_c g(L_c) in f; the heads get w_c g(L_c). Seen by changing the count."""
    first = compiled("ssvif_joint", ())[0].begin(PREVIOUS)
    counts = {count: first._replace(count=jnp.asarray(count)) for count in (0, 1, 9)}
    runs = {count: evaluate("ssvif_joint", params, batch, aux) for count, aux in counts.items()}
    alpha = {count: m["weight_gradient"] for count, (_, m, _, _) in runs.items()}
    np.testing.assert_allclose(list(alpha.values()), [0.2 * np.exp(-5), 0.2 * np.exp(-5 / 4), 0.2], rtol=1e-5)
    heads_only = evaluate("ssvif_heads", params, batch)[3]
    own = jax.tree.map(lambda g: g / 0.4, fusion_gradient(params, batch))
    late = jax.tree.map(lambda g, f: g - f, *({p: tree[p] for p in IN_F} for tree in (runs[9][3], own)))
    assert size(late) > 1e-4
    for count, (_, m, _, gradient) in runs.items():
        assert m["weight_fusion"] == m["weight_consistency"] == 1
        close(gradient, heads_only, IN_HEADS)
        shared = jax.tree.map(lambda g, f: g - f, *({p: tree[p] for p in IN_F} for tree in (gradient, own)))
        close(shared, late, IN_F, alpha[count] / alpha[9])


def test_stage_two_begins_with_the_average_of_stage_one(params, batch):
    value, m, aux, _ = evaluate("ssvif_joint", params, batch, previous=PREVIOUS)
    np.testing.assert_allclose(value, m["fusion"] / 0.4 + m["consistency"], rtol=1e-5)
    np.testing.assert_allclose(aux.mean, [m["fusion"], m["consistency"]], rtol=1e-5)
    assert int(aux.count) == 1 and np.isclose(aux.reference, 0.4)
    with pytest.raises(ValueError, match="'ssvif_joint' must follow its first stage"):
        evaluate("ssvif_joint", params, batch, previous=())


def test_constant_weights_and_unknown_ones(params, batch):
    _, m, _, _ = evaluate("ssvif_joint", params, batch, previous=PREVIOUS, weights="constant")
    assert [m[f"weight_{name}"] for name in ("fusion", "consistency")] == [1, 1]
    np.testing.assert_allclose(m["weight_gradient"], 0.2)
    with pytest.raises(ValueError, match="weights='magic' is not known; choose dynamic or constant"):
        evaluate("ssvif_joint", params, batch, previous=PREVIOUS, weights="magic")


def test_the_ablation_leaves_terms_out(params, batch):
    alone = FrozenConfigDict(dict(balance=0.0, entropy=0.0, equivariance=0.0, smoothness=0.0))
    _, m, _, _ = evaluate("ssvif_heads", params, batch, consistency=alone)
    np.testing.assert_allclose(m["consistency"], m["cross"], rtol=1e-6)
    assert "equivariance" not in m and "smoothness" not in m


def test_supervision_ignores_unlabelled_pixels_and_needs_labels(params, batch):
    _, m, _, gradient = evaluate("supervised_heads", params, batch)
    changed = batch | {"labels": jnp.where(batch["labels"] == 255, 77, batch["labels"])}
    assert evaluate("supervised_heads", params, changed)[1] == m
    close(gradient, fusion_gradient(params, batch), IN_F)
    _, joint, _, _ = evaluate("supervised_joint", params, batch, previous=PREVIOUS)
    np.testing.assert_allclose(joint["consistency"], m["consistency"], rtol=1e-5)
    with pytest.raises(ValueError, match="labels=True in the rows of config.data.fusion"):
        evaluate("supervised_heads", params, {k: v for k, v in batch.items() if k != "labels"})


def test_fusion_loss_of_the_pixel_maximum_of_equal_images_is_zero():
    grey = jnp.asarray(np.random.default_rng(0).random((1, 16, 16, 1)), jnp.float32)
    total, terms = ssvif.fusion_loss(jnp.repeat(grey, 3, -1), jnp.repeat(grey, 3, -1), grey)
    assert abs(total) < 1e-4 and all(abs(term) < 1e-4 for term in terms.values())


def test_heads_rest_in_lures_stages_and_are_asked_for():
    stage = ConfigDict(dict(objective="lure_rule", steps=STEPS))
    assert registry.build(stage, None, HEADS).lr_factors["pixel_head"] == 0
    assert "pixel_head" not in registry.build(stage, None).lr_factors
    with pytest.raises(ValueError, match="'ssvif_heads' needs segmentation heads, but config.heads is absent"):
        registry.build(ConfigDict(dict(objective="ssvif_heads", steps=STEPS)), None)
