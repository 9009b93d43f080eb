"""The reconstruction of SSVIF's network and schedule, for accelerators."""

from configs import common


def get_config():
    config = common.ssvif("base", common.REAL_FUSION)
    config.model.dtype = "bfloat16"
    config.stages.heads = common.stage("ssvif_heads", "fusion", steps=30000, batch=16, crop=256, lr=5e-4, final_lr=1e-4)
    config.stages.joint = common.stage(
        "ssvif_joint", "fusion", steps=20000, batch=16, crop=256, lr=1e-4, weights="dynamic"
    )
    config.checkpoint.every = 5000
    config.data.workers = 8
    return config
