"""The recipe of the released `lure_tiny`: real pairs, several resumable hours on two cores."""

from configs import common


def get_config():
    config = common.lure("tiny", common.REAL_RESTORATION, common.REAL_FUSION)
    config.recipe = ("space", "polish", "rule", "joint")
    config.stages.space = common.stage(
        "lure_space", "restoration", steps=13000, batch=8, crop=64, optimizer="muon", lr=6e-3, final_lr=2e-4
    )
    config.stages.polish = common.stage(
        "lure_space", "restoration", steps=800, batch=8, crop=128, optimizer="muon", lr=1e-3
    )
    config.stages.rule = common.stage("lure_rule", "fusion", steps=900, batch=8, crop=96, lr=2e-3)
    config.stages.joint = common.stage("lure_joint", "fusion", steps=600, batch=8, crop=96, lr=1e-3)
    config.checkpoint.every = 500
    return config
