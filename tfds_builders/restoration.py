"""TFDS builder of degraded/reference pairs of one modality, one config a data set of the layout table."""

import tensorflow_datasets as tfds

from lure_jax.text.conditions import MODALITIES
from tfds_builders.builder import LayoutBuilder
from tfds_builders.images import require_same_size, stored_image
from tfds_builders.restoration_rows import RESTORATION


class Restoration(LayoutBuilder):
    """Pairs of one scene: id, degraded and reference (H,W,3) uint8, modality (number), condition (name).

    `tone` is the curve (`ToneMap.to_json`) that both were brought to 8 bits by, "" where their files had 8.
    Infrared is stored grey and repeated to three channels on reading. A row without degraded files stores the
    reference as both: the pipeline degrades it.
    """

    BUILDER_CONFIGS = list(RESTORATION)

    def features(self, roles):
        return {
            "id": tfds.features.Text(),
            "degraded": tfds.features.Image(shape=(None, None, 3)),
            "reference": tfds.features.Image(shape=(None, None, 3)),
            "modality": tfds.features.ClassLabel(names=list(MODALITIES)),
            "condition": tfds.features.Text(),
            "tone": tfds.features.Text(),
        }

    def read(self, example):
        row, paths = self.builder_config, example.paths
        kind = "colour" if row.modality == "visible" else "grey"
        reference = degraded = stored_image(paths["reference"], kind, self.tone)
        if "degraded" in paths:
            degraded = stored_image(paths["degraded"], kind, reference.tone or self.tone)
            require_same_size(paths["degraded"], degraded, paths["reference"], reference)
        return {
            "id": example.id,
            "degraded": degraded.data,
            "reference": reference.data,
            "modality": row.modality,
            "condition": row.condition,
            "tone": reference.kept_tone,
        }
