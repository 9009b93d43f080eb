"""What a row of the table of real data sets says: where its files lie, how they split, which words rule."""

import dataclasses
from collections.abc import Mapping

import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class Folders:
    """Split by the folder that `{split}` matches: `names` maps published folder -> train, val or test.

    Where no folder is val, a stable tenth of train's scenes becomes it, so that nothing has to be chosen on test;
    `scene` as in `Hashed`.
    """

    names: dict[str, str]
    scene: str = r"(.*)"


@dataclasses.dataclass(frozen=True)
class Hashed:
    """Stable hash of the scene, 80/10/10; `scene` is a regex whose first group names the scene in an id."""

    scene: str = r"(.*)"


@dataclasses.dataclass(frozen=True)
class Listed:
    """Split by a CSV file (folder, stem, split) in the source; `folder` selects its lines."""

    folder: str
    file: str = "splits.csv"


@dataclasses.dataclass(frozen=True)
class Lists:
    """Split by text files in the source: `names` maps each to train, val or test.

    An example belongs to the file that holds its id, or the path of its first image, as one of its words.
    """

    names: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Whole:
    """Everything in one split."""

    split: str


SplitRule = Folders | Hashed | Listed | Lists | Whole


@dataclasses.dataclass(frozen=True)
class Layout:
    """One arrangement of files under a source folder.

    Attributes:
      files: role -> path pattern relative to the source. `{stem}`, `{split}` and other `{names}` stand for one path
        component or a part of it, `{number}` for digits; the first role's files define the examples, and the patterns
        of the other roles are filled with what its placeholders matched. A final `.*` is any suffix. Roles: visible,
        infrared and optionally labels, boxes; or degraded, reference (reference alone: the clean image is both).
      split: how examples are assigned to train, val and test.
    """

    files: dict[str, str]
    split: SplitRule


@dataclasses.dataclass(eq=False, kw_only=True)
class Row(tfds.core.BuilderConfig):
    """One data set of the table, a TFDS `BuilderConfig`.

    Attributes:
      layouts: the known arrangements; the first one whose files are in the source is taken.
      homepage: where the data set lives.
      citation: how its authors ask to be cited.
      licence: the licence words of the source, as published.
      download: one or two sentences on how to get the files.
      verified: True only if the row was built from real files.
      label_classes: names of the values of a label map.
      box_classes: names of the class numbers of the boxes.
      channels: role -> channels of its files, where one file holds both images.
    """

    layouts: tuple[Layout, ...]
    homepage: str
    citation: str
    licence: str
    download: str
    verified: bool
    label_classes: tuple[str, ...] = ()
    box_classes: tuple[str, ...] = ()
    channels: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(eq=False, kw_only=True)
class RestorationRow(Row):
    """A row of `restoration`: `modality` and `condition` are names of lure_jax.text.conditions; "" = to be given."""

    modality: str = "visible"
    condition: str


OWN = dict(
    homepage="",
    citation="",
    licence="your own",
    download="Your own files; nothing to download.",
    verified=False,
)
