"""The reconstruction of the paper's model and schedule, for accelerators."""

from configs import common


def get_config():
    config = common.lure("base", common.REAL_RESTORATION, common.REAL_FUSION)
    config.model.dtype = "bfloat16"
    config.stages.space = common.stage(
        "lure_space", "restoration", steps=200000, batch=16, crop=128, lr=2e-4, warmup=2000
    )
    config.stages.rule = common.stage("lure_rule", "fusion", steps=15000, batch=16, crop=128, lr=1e-4)
    config.stages.joint = common.stage("lure_joint", "fusion", steps=15000, batch=16, crop=128, lr=1e-4)
    config.checkpoint.every = 5000
    config.data.workers = 8
    return config
