"""TFDS builder of registered visible/infrared pairs, one config a data set of the layout table."""

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.boxes import read_boxes
from tfds_builders.builder import LayoutBuilder
from tfds_builders.images import require_same_size, stored_image
from tfds_builders.pair_rows import PAIRS

_KINDS = {"visible": "colour", "infrared": "grey", "labels": "labels"}


class Pairs(LayoutBuilder):
    """Pairs matched by stem: id, visible (H,W,3) uint8, infrared (H,W,1) uint8.

    `infrared_tone` is the curve (`ToneMap.to_json`) that the infrared image was brought to 8 bits by, "" where its file
    had 8.
    Where the source has them: labels (H,W,1) uint8 class numbers, and boxes, a sequence of bbox (ymin, xmin, ymax,
    xmax in 0..1) and label.
    """

    BUILDER_CONFIGS = list(PAIRS)

    def features(self, roles):
        row = self.builder_config
        features = {
            "id": tfds.features.Text(),
            "visible": tfds.features.Image(shape=(None, None, 3)),
            "infrared": tfds.features.Image(shape=(None, None, 1)),
            "infrared_tone": tfds.features.Text(),
        }
        if "labels" in roles:
            features["labels"] = tfds.features.LabeledImage(labels=list(row.label_classes) or None)
        if "boxes" in roles:
            names = list(row.box_classes)
            label = tfds.features.ClassLabel(names=names) if names else tfds.features.Scalar(np.int64)
            features["boxes"] = tfds.features.Sequence({"bbox": tfds.features.BBoxFeature(), "label": label})
        return features

    def read(self, example):
        paths = {role: path for role, path in example.paths.items() if role in self.info.features}
        fields = {"id": example.id}
        if "boxes" in paths:
            fields["boxes"] = read_boxes(paths.pop("boxes"), self.builder_config.box_classes)
        channels = self.builder_config.channels
        images = {
            role: stored_image(path, _KINDS[role], self.tone, channels.get(role, ())) for role, path in paths.items()
        }
        fields["infrared_tone"] = images["infrared"].kept_tone
        for role in images:
            require_same_size(paths[role], images[role], paths["visible"], images["visible"])
        return fields | {role: image.data for role, image in images.items()}
