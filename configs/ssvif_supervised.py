"""The upper line of SSVIF: the same network and stages, the heads taught by the labels of the synthetic scenes."""

from configs import common


def get_config():
    config = common.ssvif("tiny", common.LABELLED_FUSION)
    config.stages.heads = common.stage(
        "supervised_heads", "fusion", steps=1500, batch=8, crop=96, lr=2e-3, final_lr=1e-3
    )
    config.stages.joint = common.stage(
        "supervised_joint", "fusion", steps=1000, batch=8, crop=96, lr=1e-3, weights="dynamic"
    )
    config.ema = 0.99
    config.checkpoint.every = 500
    return config
