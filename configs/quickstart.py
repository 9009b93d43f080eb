"""A first look: LURE's three stages at tiny size on the embedded synthetic scenes."""

from configs import common


def get_config():
    config = common.lure("tiny", common.SYNTHETIC_RESTORATION, common.SYNTHETIC_FUSION)
    config.stages.space = common.stage(
        "lure_space", "restoration", steps=600, batch=8, crop=64, optimizer="muon", lr=2e-2
    )
    config.stages.rule = common.stage("lure_rule", "fusion", steps=150, batch=8, crop=64, lr=1e-3, warmup=20)
    config.stages.joint = common.stage("lure_joint", "fusion", steps=100, batch=8, crop=64, lr=3e-4, warmup=20)
    config.ema = 0.99
    config.checkpoint.every = 400
    return config
