"""The recipe of `lure_small`: real pairs, minutes on one accelerator."""

from configs import common


def get_config():
    config = common.lure("small", common.REAL_RESTORATION, common.REAL_FUSION)
    config.model.dtype = "bfloat16"
    config.stages.space = common.stage(
        "lure_space", "restoration", steps=30000, batch=16, crop=128, lr=5e-4, warmup=500
    )
    config.stages.rule = common.stage("lure_rule", "fusion", steps=3000, batch=16, crop=128, lr=5e-4)
    config.stages.joint = common.stage("lure_joint", "fusion", steps=3000, batch=16, crop=128, lr=2e-4)
    config.data.workers = 8
    return config
