"""`lure_small`: the released tiny model, and networks that remove what it leaves of noise, and rain and snow."""

from ml_collections import ConfigDict

from configs import common, lure_tiny

WEATHER = ("rain", "snow")
ALL = ("noise", *WEATHER)
# Half of the noise is white and on photographs: what one sees least of in images of cameras is learnt last
RESTORATION = (
    common.real("polyu", "visible", "noise", weight=5.0),
    common.clean("clean", "visible", "reference", ("noise",), weight=11.0),
    common.clean("clean", "visible", "reference", ALL, weight=3.0),
    common.clean("polyu", "visible", "reference", ALL),
    common.clean("lol", "visible", "reference", ALL, weight=0.5),
    common.clean("roadscene", "visible", "visible", ALL),
    common.clean("msrs", "visible", "visible", ALL, weight=2.5),
    common.clean("synthetic_scenes/default", "visible", "visible", ALL, weight=0.7),
    common.clean("msrs", "infrared", "infrared", ("noise",)),
    common.clean("roadscene", "infrared", "infrared", ("noise",)),
)


def get_config():
    config = lure_tiny.get_config()
    config.model.preset = "small"
    config.init_from = "lure_tiny"
    config.recipe = ("denoise", "deweather", "reread")
    config.stages = ConfigDict()
    config.stages.denoise = refining("denoising", ("noise",), steps=12_000, batch=16, crop=64)
    config.stages.deweather = refining("deweathering", WEATHER, steps=5_500, batch=5, crop=128)
    # What comes to the encoder now is not what its tokens of these conditions knew
    config.stages.reread = common.stage(
        "lure_tokens", "restoration", steps=450, batch=3, crop=256, lr=4e-3, weight_decay=0.0, conditions=ALL
    )
    config.data.restoration = RESTORATION
    config.data.strengths = ConfigDict({"visible": {"noise": {
        "sd": (5.0, 50.0), "shot_share": (0.0, 0.6), "common": (0.0, 0.4), "grain_share": (0.2, 0.2),
    }}})  # fmt: skip
    weights = {"visible": {"noise": 4.0, "rain": 2.0, "snow": 2.0}, "infrared": {"noise": 2.0}}
    config.data.condition_weights = ConfigDict(weights)
    config.data.infrared_share = 0.15
    config.data.wrong_prompt = 0.0
    config.data.two_conditions = 0.2
    config.condition_head.samples = config.blur_kernel.samples = 0  # they are there
    return config


def refining(part, conditions, steps, batch, crop):
    return common.stage(
        "lure_repair", "restoration", steps=steps, batch=batch, crop=crop, lr=1e-2, optimizer="muon", weight_decay=0.0,
        part=part, conditions=conditions,
    )  # fmt: skip
