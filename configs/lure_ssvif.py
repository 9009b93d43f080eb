"""Both papers in one system: LURE's space, then its fusion rule trained by SSVIF.

With `--config.init_from=lure_tiny --config.recipe="('heads','joint')"` it starts from the released model instead.
"""

from configs import common


def get_config():
    config = common.lure("tiny", common.REAL_RESTORATION, common.REAL_FUSION)
    config.heads = common.heads("tiny")
    config.recipe = ("space", "heads", "joint")
    config.stages.space = common.stage(
        "lure_space", "restoration", steps=7000, batch=8, crop=64, lr=3e-3, final_lr=1e-4
    )
    config.stages.heads = common.stage("ssvif_heads", "fusion", steps=900, batch=8, crop=96, lr=2e-3, final_lr=1e-3)
    config.stages.joint = common.stage(
        "ssvif_joint", "fusion", steps=600, batch=8, crop=96, lr=1e-3, weights="dynamic"
    )
    config.ema = 0.99
    config.checkpoint.every = 500
    return config
