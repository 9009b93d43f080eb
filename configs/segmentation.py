"""What fused images are worth for segmentation: `--config=configs/segmentation.py:METHOD`.

METHOD is "visible", "infrared", a baseline such as "max", a model's name or folder, or a training workdir.
"""

from configs import common
from tfds_builders.scene_render import CLASSES


def get_config(method: str = "visible"):
    config = common.judge("segmenter", common.judged("synthetic_scenes/default", method, "labels", CLASSES))
    config.recipe = ("segmentation",)
    config.stages.segmentation = common.stage(
        "segmentation", "judged", steps=600, batch=8, crop=128, lr=2e-3, weight_decay=1e-2
    )
    return config
