"""Released models on disk: a folder with config.json and an Orbax checkpoint, or one .safetensors file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax
import flax.linen as nn
import jax
import numpy as np
from etils import epath
from jaxtyping import Float
from ml_collections import ConfigDict

from lure_jax.errors import UserError
from lure_jax.inference import single_file
from lure_jax.models import registry
from lure_jax.paths import absolute, is_bucket
from lure_jax.text.clip import ClipError
from lure_jax.text.clip_prompts import PromptTokens
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.source import SOURCES

FORMAT = 1
CONFIG = "config.json"
PARAMS = "params"
PROMPTS = "prompts.npz"  # where the text source is CLIP: `auto` then needs no other file of it
LICENCE = "LICENSE.md"  # of the weights
DEFAULT_THRESHOLD = 0.5
SHIPPED = epath.resource_path("lure_jax") / "weights"
_CONDITION_NAMES = tuple("/".join(condition) for condition in CONDITIONS)


class WeightsError(UserError):
    """A model that is not there or cannot be used; the message is one sentence."""


class Released(NamedTuple):
    """A model ready for use.

    Attributes:
      model: the unbound Flax module, a LURE model or one that fuses alone.
      params: its parameters, plain nested dicts of float32 numpy arrays.
      config: the model config it was built from.
      thresholds: (13,), the probability of the condition head above which `auto` takes a condition for present.
      licence: note on the weights; empty if they come without one.
    """

    model: registry.FusionModel
    params: Any
    config: dict[str, Any]
    thresholds: Float[np.ndarray, "13"]
    licence: str = ""

    @property
    def threshold_of(self) -> dict[str, float]:
        """The thresholds as `save` takes them: "visible/low_light" -> probability."""
        return dict(zip(_CONDITION_NAMES, self.thresholds.tolist(), strict=True))


def save(
    folder: epath.PathLike,
    params: Any,
    model_config: Mapping[str, Any],
    thresholds: Mapping[str, float] | None = None,
    prompts: PromptTokens | None = None,
    licence: str = "",
) -> None:
    """Writes a released model as a folder; a folder of that name is replaced when the new one is complete.

    All processes of a run call it together. In a bucket, which can't rename, the old folder goes first, and the file
    that makes a folder a model comes last.

    Args:
      folder: local or bucket path.
      params: of the model, boxed or not, of any float type; stored as float32.
      model_config: as `models.registry.build` takes it.
      thresholds: "visible/low_light" -> probability; 0.5 for what is left out. Of LURE models, which alone have a
        condition head.
      prompts: the model's, if its text source is "clip".
      licence: note on the weights, written beside them.

    Raises:
      WeightsError: a threshold of an unknown condition or outside [0, 1].
    """
    from orbax.checkpoint import v1 as ocp  # here, so that a .safetensors file is read without it

    folder = absolute(folder)
    config = describe(model_config, thresholds, prompts)
    draft = folder if is_bucket(folder) else folder.parent / f".{folder.name}.writing"
    writer = jax.process_index() == 0
    if writer and draft.exists():
        draft.rmtree()
    _together("removed")
    ocp.save(draft / PARAMS, jax.tree.map(lambda leaf: leaf.astype(np.float32), nn.unbox(params)))
    if writer:
        if prompts:
            (draft / PROMPTS).write_bytes(prompts.write())
        if licence:
            (draft / LICENCE).write_text(licence)
        (draft / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        if draft != folder:
            if folder.exists():
                folder.rmtree()
            draft.rename(folder)
    _together("renamed")


def describe(
    model_config: Mapping[str, Any],
    thresholds: Mapping[str, float] | None = None,
    prompts: PromptTokens | None = None,
) -> dict[str, Any]:
    """What config.json says of a model; arguments and errors as of `save`."""
    chosen = zip(_CONDITION_NAMES, _thresholds(thresholds or {}, "thresholds").tolist(), strict=True)
    chosen = chosen if model_config["name"] == "lure" else ()
    keys = registry.KEYS[model_config["name"]] + (("clip",) if prompts else ())
    return {
        "format": FORMAT,
        "model": {key: model_config[key] for key in keys},
        "thresholds": {name: round(value, 6) for name, value in chosen if not name.endswith("/clean")},
        "written_with": {"jax": jax.__version__, "flax": flax.__version__},
    }


def load(name_or_dir: epath.PathLike) -> Released:
    """Loads a released model.

    Args:
      name_or_dir: a model of the package ("lure_tiny"), a folder that `save` wrote, a .safetensors file that
        `lure export` wrote, or a training workdir, which holds a folder as `model/`. A name of the package wins; write
        ./lure_tiny for a folder.

    Returns:
      The model, its parameters and its config.

    Raises:
      WeightsError: there is no such model, or its files do not fit this version of the package.
    """
    path = find(name_or_dir)
    stored = _open(path)
    config = _read_config(stored)
    model = registry.build(ConfigDict(config["model"]), _read_prompts(path, stored, config))
    abstract = nn.unbox(jax.eval_shape(lambda key: registry.initialise(model, key), jax.random.key(0)))
    params = load_params(path, abstract)
    thresholds = _thresholds(config["thresholds"], stored.origin)
    return Released(model, params, config["model"], thresholds, stored.licence())


def load_params(name_or_dir: epath.PathLike, abstract: Any, text: str = "", optional: Sequence[str] = ()) -> Any:
    """The parameters alone, for `config.init_from`.

    Args:
      name_or_dir: as in `load`.
      abstract: tree of arrays or `ShapeDtypeStruct`, unboxed: what the model at hand needs.
      text: the `text_identity` of the model at hand; not compared if it is left out.
      optional: top-level prefixes that are left out if the model on disk lacks them.

    Returns:
      The same tree of float32 numpy arrays.

    Raises:
      WeightsError: there is no such model, it reads another text, or a parameter's name or shape differs.
    """
    path = find(name_or_dir)
    stored = _open(path)
    config = _read_config(stored)
    if text:
        prompts = _read_prompts(path, stored, config)
        saved = config["model"].get("text", "none") + (f" {prompts.tower[:12]}" if prompts else "")
        if saved != text:
            raise WeightsError(
                f"{path} was trained with the text source {saved!r}, and this model has {text!r}: set "
                "config.model.text (and, for clip, config.model.clip) to what it was trained with."
            )
    saved = stored.shapes()
    known = {name.split("/")[0] for name in saved}
    abstract = {prefix: tree for prefix, tree in abstract.items() if prefix in known or prefix not in optional}
    wanted = _shapes(abstract)
    for name in [*wanted, *(name for name in saved if name not in wanted)]:
        if saved.get(name) != wanted.get(name):
            raise WeightsError(
                f"{path} does not fit the model: parameter {name} is {saved.get(name, 'absent')} there and "
                f"{wanted.get(name, 'absent')} in the model."
            )
    return stored.params(abstract)


def shipped() -> list[str]:
    """Names of the models in the package."""
    folders = SHIPPED.iterdir() if SHIPPED.exists() else ()
    return sorted(folder.name for folder in folders if (folder / CONFIG).exists())


def find(name_or_dir: epath.PathLike) -> epath.Path:
    """The folder or .safetensors file of a model, by name, path or training workdir; WeightsError if there is none."""
    if str(name_or_dir) in shipped():
        return SHIPPED / str(name_or_dir)
    given = absolute(name_or_dir)
    if given.suffix == single_file.SUFFIX and given.is_file():
        return given
    for folder in (given, given / "model"):
        if (folder / CONFIG).exists():
            return folder
    if given.exists():
        raise WeightsError(f"{given} is not a model: neither {CONFIG} nor model/{CONFIG} is in it.")
    known = ", ".join(shipped()) or "none"
    raise WeightsError(f"There is no model {str(name_or_dir)!r}: no folder of that name, and the package has {known}.")


class _Folder:
    """Reads a folder that `save` wrote."""

    def __init__(self, path: epath.Path):
        self._path = path
        self.origin = str(path / CONFIG)

    def config(self) -> Any:
        return json.loads((self._path / CONFIG).read_text())

    def licence(self) -> str:
        path = self._path / LICENCE
        return path.read_text() if path.exists() else ""

    def prompts(self) -> bytes:
        return (self._path / PROMPTS).read_bytes()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        from orbax.checkpoint import v1 as ocp

        path = self._path / PARAMS
        try:
            return _shapes(ocp.metadata(path).metadata)
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path} is not a readable checkpoint ({type(error).__name__}).") from error

    def params(self, abstract: Any) -> Any:
        from orbax.checkpoint import v1 as ocp

        return ocp.load(self._path / PARAMS, jax.tree.map(lambda leaf: np.empty(leaf.shape, np.float32), abstract))


def _open(path: epath.Path) -> _Folder | single_file.SingleFile:
    if path.suffix != single_file.SUFFIX:
        return _Folder(path)
    try:
        return single_file.SingleFile(path)
    except UserError as error:
        raise WeightsError(str(error)) from error


def _read_config(stored: _Folder | single_file.SingleFile) -> dict[str, Any]:
    try:
        config = stored.config()
        version, model, _ = config["format"], config["model"], config["thresholds"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{stored.origin} is not the description of a model ({error!r}).") from error
    if version != FORMAT:
        raise WeightsError(
            f"{stored.origin} has format {version!r}, and this version of lure-jax reads format {FORMAT}."
        )
    missing = [key for key in registry.KEYS.get(model.get("name"), ("name",)) if key not in model]
    if missing:
        raise WeightsError(f"{stored.origin} lacks model.{missing[0]}.")
    if model["name"] == "lure" and model["text"] not in SOURCES:
        known = ", ".join(sorted(SOURCES))
        raise WeightsError(
            f"{stored.origin} asks for the text source {model['text']!r}, which this version of lure-jax does not have "
            f"(known: {known})."
        )
    return config


def _read_prompts(path: epath.Path, stored, config: Mapping[str, Any]) -> PromptTokens | None:
    """The encoded prompts of a model whose text source is CLIP."""
    if config["model"].get("text") != "clip":
        return None
    try:
        return PromptTokens.read(stored.prompts())
    except OSError as error:
        raise WeightsError(f"{path} has the text source clip, but not {PROMPTS}: copy that file too.") from error
    except ClipError as error:
        raise WeightsError(f"{path / PROMPTS} does not fit: {error}.") from error


def _thresholds(given: Mapping[str, float], origin: epath.PathLike) -> Float[np.ndarray, "13"]:
    for name, value in given.items():
        if name not in _CONDITION_NAMES:
            raise WeightsError(f"{origin} names the condition {name!r}; known are {', '.join(_CONDITION_NAMES)}.")
        if not 0 <= value <= 1:
            raise WeightsError(f"{origin} has the threshold {value} for {name}; it must lie in [0, 1].")
    return np.array([given.get(name, DEFAULT_THRESHOLD) for name in _CONDITION_NAMES], np.float32)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}


def _together(moment: str) -> None:
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(f"weights.save: {moment}")
