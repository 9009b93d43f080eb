"""The tiny model on real pairs: 8 resumable hours on one core, then 45 minutes, not resumable, for the head."""

from ml_collections import ConfigDict

from configs import common

RESTORATION = common.REAL_RESTORATION + common.MORE_NOISE + common.SOME_SYNTHETIC
PARTS = {  # stage: part of the encoder, the condition that asks for it, steps, batch, crop
    "tone": ("toning", "low_light", 2200, 2, 400),
    "shrink": ("shrinking", "noise", 2300, 3, 256),
    "sharpen": ("sharpening", "blur", 600, 3, 256),
    "level": ("levelling", "stripe", 1600, 2, 400),
}


def get_config():
    config = common.lure("tiny", RESTORATION, common.REAL_FUSION)
    # No joint stage: what the decoder gains for fusion, it loses in restoring
    config.recipe = (
        "space", "polish", "settle", "noise", "whole", "lift", "tokens", "rule", "clean", "conditions", *PARTS,
    )  # fmt: skip
    config.stages.space = restoration(steps=10500, crop=64, lr=6e-3, final_lr=1e-4)
    config.stages.polish = restoration(steps=800, crop=128, lr=1e-3, pseudo=0.5)
    config.stages.settle = restoration(steps=2400, crop=64, lr=7e-4, pseudo=1.0)
    # Without alignment (lam = 0) what is clean comes through 5 dB better, and what is not is restored as well
    config.stages.noise = restoration(steps=2600, crop=128, lr=3e-3, final_lr=3e-4, pseudo=0.5, align=0.0)
    # In small crops every pixel sees a border; without this stage the inside of whole images is a place never seen
    config.stages.whole = restoration(steps=1800, crop=256, lr=1.2e-3, pseudo=1.0, align=0.0, batch=3)
    config.stages.lift = common.stage(
        "lure_repair", "restoration", steps=10000, batch=4, crop=384, lr=1e-2, optimizer="muon", weight_decay=0.0,
        part="lifting", conditions=("haze",),
    )  # fmt: skip
    config.stages.tokens = common.stage(
        "lure_tokens", "restoration", steps=450, batch=3, crop=288, lr=4e-3, weight_decay=0.0
    )
    config.stages.rule = common.stage(
        "lure_rule", "fusion", steps=6000, batch=2, crop=256, lr=4e-3, optimizer="muon", weight_decay=0.01
    )
    config.stages.clean = common.stage(
        "lure_clean", "fusion", steps=700, batch=2, crop=256, lr=2e-3, optimizer="muon", weight_decay=0.01
    )
    for stage in (config.stages.rule, config.stages.clean):
        # Without lightness a day's sky turns as dark as the infrared one; without heat people by day are faint
        stage.loss = dict(
            intensity=3.0, gradient=5.0, colour=24.0, information=1.6, edges=17.0, differences=4.8, similarity=11.5,
            overshoot=450.0, mutual=0.42, lightness=175.0, heat=38.0, entropy=1.2,
        )  # fmt: skip
    config.stages.conditions = common.stage(
        "lure_conditions", "fusion", steps=2400, batch=2, crop=256, lr=3e-3, weight_decay=0.0
    )
    for name, (part, condition, steps, batch, crop) in PARTS.items():
        config.stages[name] = common.stage(
            "lure_tokens", "restoration", steps=steps, batch=batch, crop=crop, lr=1e-2, optimizer="muon",
            weight_decay=0.0, part=part, conditions=(condition,),
        )  # fmt: skip
    # One of a dozen conditions, noise would come too seldom: haze moves all pixels the same way, noise each its own
    config.data.condition_weights = ConfigDict({"visible": {"noise": 7.0}, "infrared": {"noise": 2.0, "stripe": 2.0}})
    # Without things that stand in the haze, and its darker and coloured light, what lifts it leaves dark scenes white
    haze = {"scene_share": (0.5, 0.5), "airlight": (0.6, 1.0), "tint": (0.0, 0.1)}
    config.data.strengths = ConfigDict({"visible": {"haze": haze}})
    config.data.infrared_share = 0.35
    config.data.wrong_prompt = 0.05
    config.condition_head.samples = 48000
    config.blur_kernel.samples = 40000
    config.checkpoint.every = 500
    return config


def restoration(batch=8, **changes):
    # Muon's updates have one size whatever the weights'; without the decay the latents grow thirtyfold
    return common.stage("lure_space", "restoration", batch=batch, optimizer="muon", weight_decay=0.1, **changes)
