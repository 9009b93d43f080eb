"""The recipe of the released `lure_tiny`: real pairs, several resumable hours on two cores."""

from configs import common


def get_config():
    config = common.lure("tiny", common.REAL_RESTORATION, common.REAL_FUSION)
    config.recipe = ("space", "polish", "rule", "joint")
    config.stages.space = common.stage(
        "lure_space", "restoration", steps=7000, batch=8, crop=64, lr=3e-3, final_lr=1e-4
    )
    config.stages.polish = common.stage("lure_space", "restoration", steps=1500, batch=8, crop=64, lr=1e-3)
    config.stages.rule = common.stage("lure_rule", "fusion", steps=300, batch=8, crop=64, lr=2e-3)
    config.stages.joint = common.stage("lure_joint", "fusion", steps=300, batch=8, crop=64, lr=1e-3)
    config.ema = 0.99
    config.checkpoint.every = 500
    return config
