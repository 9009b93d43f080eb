"""What the builders of real data sets share: a row of the layout table and a source folder become examples."""

import tensorflow_datasets as tfds
from etils import epath

from tfds_builders.files import Example, find_examples, find_layout


class LayoutBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose configs are rows of the layout table.

    Args:
      source: folder with the files in a layout of the row; default: TFDS's manual_dir, with the images alone.
      tone: how images of more than 8 bits become 8, as `tonemap.fit` takes it.
      **kwargs: of `tfds.core.DatasetBuilder`; give `file_format="array_record"`.
    """

    VERSION = tfds.core.Version("1.1.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See `download` of the row in tfds_builders/layouts.py."

    def __init__(self, *, source: epath.PathLike | None = None, tone: str = "percentile", **kwargs):
        self._source, self.tone = source, tone
        super().__init__(**kwargs)

    def features(self, roles: set[str]) -> dict:
        """The TFDS features of a layout with files of these roles."""
        raise NotImplementedError

    def read(self, example: Example) -> dict:
        """The values of one example."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        row = self.builder_config
        roles = set(find_layout(row, self._source).files) if self._source else set()
        return self.dataset_info_from_configs(
            description=row.description,
            features=tfds.features.FeaturesDict(self.features(roles)),
            homepage=row.homepage,
            citation=row.citation,
        )

    def _split_generators(self, dl_manager):
        source = self._source or dl_manager.manual_dir
        splits = find_examples(find_layout(self.builder_config, source), source)
        return {split: self._generate_examples(examples) for split, examples in splits.items()}

    def _generate_examples(self, examples):
        for example in examples:
            yield example.id, self.read(example)
