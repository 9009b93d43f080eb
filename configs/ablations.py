"""What each part of LURE is worth at tiny size: get_config(arm), equal data, steps and nearly equal parameters.

The arms: `tga`, the model as it is; `channel_affine`, text as an affine of whole channels (after Text-IF);
`no_inner_residual`, z = U(e0, T) alone; `no_align`, lam = 0; `one_hot`, one code a condition instead of the table's
eight learned tokens.
"""

from configs import common

ARMS = ("tga", "channel_affine", "no_inner_residual", "no_align", "one_hot")


def get_config(arm: str = "tga"):
    if arm not in ARMS:
        raise ValueError(f"{arm!r} is no arm of the ablation; choose one of {', '.join(ARMS)}.")
    preset = f"tiny_{arm}" if arm in ("channel_affine", "no_inner_residual") else "tiny"
    config = common.lure(preset, common.REAL_RESTORATION, common.REAL_FUSION)
    config.model.text = "one_hot" if arm == "one_hot" else "table"
    config.recipe = ("space", "rule")
    config.stages.space = common.stage(
        "lure_space", "restoration", steps=1400, batch=8, crop=64, optimizer="muon", lr=1.5e-2, weight_decay=0.1,
        align=0.0 if arm == "no_align" else 0.1,
    )  # fmt: skip
    config.stages.rule = common.stage("lure_rule", "fusion", steps=200, batch=8, crop=64, lr=2e-3, warmup=20)
    config.ema = 0.99
    return config
