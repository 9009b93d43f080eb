"""What the recipes share: defaults of every key, and the rows of the data pools."""

import ml_collections

VISIBLE = ("low_light", "over_exposure", "haze", "rain", "snow", "noise", "blur")
# Night frames are dark as they should be: nothing that changes the exposure is synthesised on sets that hold them.
VISIBLE_ANY_HOUR = ("haze", "rain", "snow", "noise", "blur")
INFRARED = ("low_contrast", "noise", "stripe", "blur")


def clean(dataset: str, modality: str, image: str, conditions: tuple[str, ...], weight: float = 1.0):
    """A row of the restoration pool: clean images, degraded on the fly."""
    return ml_collections.ConfigDict(dict(
        dataset=dataset, modality=modality, image=image, conditions=conditions, real=False, weight=weight,
    ))  # fmt: skip


def real(dataset: str, modality: str, condition: str, weight: float = 1.0):
    """A row of the restoration pool: real pairs (degraded, reference)."""
    return ml_collections.ConfigDict(dict(
        dataset=dataset, modality=modality, image="reference", conditions=(condition,), real=True, weight=weight,
    ))  # fmt: skip


def pairs(dataset: str, visible_conditions: tuple[str, ...] = VISIBLE, weight: float = 1.0, labels: bool = False):
    """A row of the fusion pool: registered pairs, degraded on the fly; with `labels` for a supervised stage."""
    return ml_collections.ConfigDict(dict(
        dataset=dataset, visible_conditions=visible_conditions, weight=weight, labels=labels,
    ))  # fmt: skip


def judged(dataset: str, method: str, truth: str, classes: tuple[str, ...]):
    """The pool of a network that judges fused images: pairs with labels or boxes, fused by one method."""
    return ml_collections.ConfigDict(dict(dataset=dataset, method=method, truth=truth, classes=classes))


SYNTHETIC_RESTORATION = (
    clean("synthetic_scenes/default", "visible", "visible", VISIBLE),
    clean("synthetic_scenes/default", "infrared", "infrared", INFRARED),
)
SYNTHETIC_FUSION = (pairs("synthetic_scenes/default"),)
LABELLED_FUSION = (pairs("synthetic_scenes/default", labels=True),)
REAL_RESTORATION = (
    real("lol", "visible", "low_light", weight=3.0),
    real("polyu", "visible", "noise", weight=2.0),
    clean("clean", "visible", "reference", VISIBLE, weight=2.0),
    clean("polyu", "visible", "reference", VISIBLE),
    clean("lol", "visible", "reference", VISIBLE, weight=0.5),
    clean("roadscene", "visible", "visible", VISIBLE),
    clean("msrs", "visible", "visible", VISIBLE_ANY_HOUR),
    clean("msrs", "infrared", "infrared", INFRARED),
    clean("roadscene", "infrared", "infrared", INFRARED),
)
# The same images with nothing but noise, and the real noise once more; its share is `condition_weights`' matter
MORE_NOISE = (
    real("polyu", "visible", "noise", weight=4.0),
    clean("clean", "visible", "reference", ("noise",), weight=4.0),
    clean("lol", "visible", "reference", ("noise",)),
    clean("roadscene", "visible", "visible", ("noise",)),
    clean("msrs", "visible", "visible", ("noise",)),
    clean("msrs", "infrared", "infrared", ("noise", "stripe"), weight=0.7),
    clean("roadscene", "infrared", "infrared", ("noise", "stripe"), weight=0.7),
)
# Drawn scenes among the real ones: else the condition head takes what is drawn for noisy or blurred
SOME_SYNTHETIC = (
    clean("synthetic_scenes/default", "visible", "visible", VISIBLE, weight=0.7),
    clean("synthetic_scenes/default", "infrared", "infrared", INFRARED, weight=0.3),
)
REAL_FUSION = (pairs("msrs", VISIBLE_ANY_HOUR), pairs("roadscene"))


def stage(objective: str, pool: str, steps: int, batch: int, crop: int, lr: float, **changes):
    """One stage of a recipe: an objective minimised for some steps over batches of one pool."""
    values = dict(
        objective=objective, pool=pool, steps=steps, batch=batch, microbatches=1, crop=crop, optimizer="adamw", lr=lr,
        final_lr=1e-6, warmup=100, weight_decay=1e-4, clip=1.0,
    )  # fmt: skip
    return ml_collections.ConfigDict(values | changes)


def heads(preset: str) -> ml_collections.ConfigDict:
    """SSVIF's segmentation heads, for `config.heads`; a recipe without the key has none."""
    return ml_collections.ConfigDict(dict(preset=preset, clusters=27))


def lure(preset: str, restoration, fusion) -> ml_collections.ConfigDict:
    """Everything but the stages of a LURE recipe."""
    config = recipe(restoration, fusion)
    config.model = ml_collections.ConfigDict(
        dict(name="lure", preset=preset, text="table", clip="", dtype="float32", remat="none")
    )
    config.recipe = ("space", "rule", "joint")
    # A condition head made anew when all stages are done; 0: the one that the first stage trained stays
    config.condition_head = ml_collections.ConfigDict(dict(samples=0, crops=(256, 384)))
    # What tells a blur from its spectrum, fitted before the first stage; 0: it stays random, and blur is the encoder's
    config.blur_kernel = ml_collections.ConfigDict(dict(samples=0, crop=320))
    return config


def ssvif(preset: str, fusion) -> ml_collections.ConfigDict:
    """Everything but the stages of a recipe of the two-stream network; it learns from clean pairs."""
    config = recipe((), fusion)
    config.model = ml_collections.ConfigDict(dict(name="two_stream", preset=preset, dtype="float32"))
    config.heads = heads(preset)
    config.data.degraded_share = config.data.tone_share = 0.0
    config.recipe = ("heads", "joint")
    return config


def judge(network: str, pool) -> ml_collections.ConfigDict:
    """Everything but the stage of a recipe of a network that judges fused images."""
    config = recipe((), ())
    config.model = ml_collections.ConfigDict(
        dict(name=network, preset="tiny", classes=len(pool.classes), dtype="float32")
    )
    config.data.judged = (pool,)
    config.ema = 0.99
    return config


def recipe(restoration, fusion) -> ml_collections.ConfigDict:
    """What the recipes of all models share."""
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.mesh = ml_collections.ConfigDict(dict(data=-1, fsdp=1, model=1))
    config.distributed = False
    config.data = ml_collections.ConfigDict(dict(
        data_dir="data", source="", workers=0, cache_mb=2000.0, restoration=restoration, fusion=fusion,
        infrared_share=0.33, two_conditions=0.3, wrong_prompt=0.1, grey_share=0.2, tone_share=0.5,
        degraded_share=0.5, condition_weights=ml_collections.ConfigDict(),
    ))  # fmt: skip
    config.stages = ml_collections.ConfigDict()
    config.ema = 0.999
    config.log_every = 50
    config.eval_every = 0
    config.checkpoint = ml_collections.ConfigDict(dict(every=1000, keep=2, best="", best_mode="max"))
    config.max_seconds = 0.0
    config.resume = ""
    config.init_from = ""
    config.compilation_cache = ""
    return config
