"""SSVIF on real unlabelled pairs at tiny size: the recipe of `ssvif_tiny`, some ten minutes on two cores."""

from configs import common


def get_config():
    config = common.ssvif("tiny", common.REAL_FUSION)
    config.stages.heads = common.stage("ssvif_heads", "fusion", steps=1500, batch=8, crop=96, lr=2e-3, final_lr=1e-3)
    config.stages.joint = common.stage(
        "ssvif_joint", "fusion", steps=1000, batch=8, crop=96, lr=1e-3, weights="dynamic"
    )
    config.ema = 0.99
    config.checkpoint.every = 500
    return config
