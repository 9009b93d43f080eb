"""What fused images are worth for detection: `--config=configs/detection.py:METHOD`.

METHOD is "visible", "infrared", a baseline such as "max", a model's name or folder, or a training workdir.
"""

from configs import common

CLASSES = ("person", "bicycle", "car")


def get_config(method: str = "visible"):
    config = common.judge("detector", common.judged("msrs", method, "boxes", CLASSES))
    config.recipe = ("detection",)
    config.stages.detection = common.stage(
        "detection", "judged", steps=400, batch=8, crop=256, lr=2e-3, weight_decay=1e-2
    )
    return config
