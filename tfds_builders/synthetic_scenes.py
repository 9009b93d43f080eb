"""The embedded data set: procedural, exactly registered street scenes; needs no TensorFlow."""

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders.scene_render import BOX_CLASSES, CLASSES, DENSE_CLASSES, Scene, render_scene

__all__ = ["CLASSES", "DENSE_CLASSES", "Scene", "SyntheticScenes", "SyntheticScenesConfig", "render_scene"]


@dataclasses.dataclass(eq=False)
class SyntheticScenesConfig(tfds.core.BuilderConfig):
    """How many scenes of which size.

    Attributes:
      count_train: scenes in split train; 0 leaves a split out.
      count_val: scenes in split val.
      count_test: scenes in split test.
      height: pixels.
      width: pixels.
      seed: names the data set; the splits of one seed never share a scene.
    """

    count_train: int = 160
    count_val: int = 16
    count_test: int = 24
    height: int = 240
    width: int = 320
    seed: int = 0


class SyntheticScenes(tfds.core.GeneratorBasedBuilder):
    """Street scenes by day and night with labels of nine classes, labels that leave no pixel out, and boxes.

    Build with `SyntheticScenes(data_dir=..., file_format="array_record").download_and_prepare()`, read with
    `builder.as_data_source(split="train")`.
    """

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [
        SyntheticScenesConfig(name="default", description="200 scenes of 240x320."),
        SyntheticScenesConfig(
            name="large",
            description="2,400 scenes of 480x640.",
            count_train=2000,
            count_val=200,
            count_test=200,
            height=480,
            width=640,
        ),
        SyntheticScenesConfig(
            name="debug",
            description="8 scenes of 96x128.",
            count_train=4,
            count_val=2,
            count_test=2,
            height=96,
            width=128,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        size = (config.height, config.width)

        def label_map(classes):
            return tfds.features.Image(
                shape=(*size, 1), dtype=np.uint8, encoding_format="png", doc=", ".join(classes)
            )

        return self.dataset_info_from_configs(
            description="Procedural street scenes, registered in visible light and infrared.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "visible": tfds.features.Image(shape=(*size, 3), encoding_format="png"),
                    "infrared": tfds.features.Image(shape=(*size, 1), encoding_format="png"),
                    "labels": label_map(CLASSES),
                    "dense_labels": label_map(DENSE_CLASSES),
                    "boxes": tfds.features.Sequence(
                        {
                            "bbox": tfds.features.BBoxFeature(),
                            "label": tfds.features.ClassLabel(names=list(BOX_CLASSES)),
                        }
                    ),
                    "night": np.bool_,
                }
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager
        config = self.builder_config
        counts = {"train": config.count_train, "val": config.count_val, "test": config.count_test}
        return {  # interleaved: a split does not change when another one grows
            name: self._generate_examples(range(first, first + 3 * count, 3))
            for first, (name, count) in enumerate(counts.items())
            if count
        }

    def _generate_examples(self, indices: range) -> Iterator[tuple[str, dict]]:
        config = self.builder_config
        for index in indices:
            scene = render_scene(config.seed, index, config.height, config.width)
            name = f"{config.seed}_{index:06d}"
            yield (
                name,
                {
                    "id": name,
                    "visible": _png(scene.visible),
                    "infrared": _png(scene.infrared),
                    "labels": _png(scene.labels),
                    "dense_labels": _png(scene.dense_labels),
                    "boxes": [
                        {"bbox": tfds.features.BBox(*map(float, box)), "label": int(kind)}
                        for box, kind in zip(scene.boxes, scene.box_classes, strict=True)
                    ],
                    "night": scene.night,
                },
            )


def _png(image: np.ndarray) -> io.BytesIO:
    """Encoded here, since the feature's own encoder would import TensorFlow."""
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze()).save(buffer, "PNG", compress_level=3)
    buffer.seek(0)
    return buffer
