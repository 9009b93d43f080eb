"""`lure_small`: the released tiny model, and a network that removes what it leaves of noise, rain and snow."""

from ml_collections import ConfigDict

from configs import common, lure_tiny

REFINED = ("noise", "rain", "snow")


def get_config():
    config = lure_tiny.get_config()
    config.model.preset = "small"
    config.init_from = "lure_tiny"
    config.recipe = ("refine", "reread")
    config.stages = ConfigDict()
    config.stages.refine = common.stage(
        "lure_repair", "restoration", steps=5500, batch=5, crop=128, lr=1e-2, optimizer="muon", weight_decay=0.0,
        part="refining", conditions=REFINED,
    )  # fmt: skip
    # What comes to the encoder now is not what its tokens of these conditions knew
    config.stages.reread = common.stage(
        "lure_tokens", "restoration", steps=450, batch=3, crop=256, lr=4e-3, weight_decay=0.0, conditions=REFINED
    )
    weights = {"visible": {"noise": 4.0, "rain": 2.0, "snow": 2.0}, "infrared": {"noise": 2.0}}
    config.data.condition_weights = ConfigDict(weights)
    config.data.wrong_prompt = 0.0
    config.data.two_conditions = 0.2
    config.condition_head.samples = config.blur_kernel.samples = 0  # they are there
    return config
