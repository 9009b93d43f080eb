"""Checkpoints: the train state, and how far into its stage's samples it is, in one Orbax step, saved asynchronously."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from lure_jax.paths import absolute
from lure_jax.training.errors import ConfigError
from lure_jax.training.mesh import path_name
from lure_jax.training.step import TrainState

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of one workdir: the latest `keep` ones, and the best by a metric.

    Args:
        workdir: local or bucket path; checkpoints lie in its folder "checkpoints".
        keep: how many of the latest stay.
        best: name of the evaluation metric whose best checkpoint stays too, or "".
        best_mode: "max" or "min".
    """

    def __init__(self, workdir: epath.PathLike, *, keep: int, best: str = "", best_mode: str = "max"):
        if best_mode not in ("max", "min"):
            raise ConfigError(f"config.checkpoint.best_mode is {best_mode!r}, but must be 'max' or 'min'.")
        if keep < 1:
            raise ConfigError(f"config.checkpoint.keep is {keep}, but must be at least 1.")
        policies = ocp.training.preservation_policies
        kept = [policies.LatestN(keep)]
        if best:
            kept.append(
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics[best],
                    reverse=best_mode == "min",
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._best = best
        self._orbax = ocp.training.Checkpointer(
            absolute(workdir) / FOLDER,
            preservation_policy=policies.AnyPreservationPolicy(kept),
            cleanup_tmp_directories=True,
        )

    @property
    def latest(self) -> int | None:
        """The step of the latest whole checkpoint."""
        return self._orbax.latest.step if self._orbax.latest else None

    @property
    def steps(self) -> list[int]:
        """The steps of all checkpoints there are."""
        return [checkpoint.step for checkpoint in self._orbax.checkpoints]

    def save(
        self, step: int, state: TrainState, *, stage: str, samples: int, text: str, scores: Mapping[str, float]
    ) -> None:
        """Starts writing a checkpoint; returns when the state may be donated.

        Args:
            step: the global step, which is `state.step`.
            state: of global arrays.
            stage: the name of the stage to which the state belongs.
            samples: taken of the stage's, over all processes.
            text: what the parameters were trained to read, "" where that is nothing.
            scores: of an evaluation at this very step, or empty.
        """
        if self._best and scores and self._best not in scores:
            raise ConfigError(
                f"config.checkpoint.best is {self._best!r}, but the evaluation gives {', '.join(sorted(scores))}."
            )
        self._orbax.save_checkpointables_async(
            step,
            _parts(state),
            force=True,
            metrics={self._best: float(scores[self._best])} if self._best and scores else None,
            custom_metadata={"stage": stage, "samples": samples, "text": text},
        )

    def close(self) -> None:
        """Waits for what is being written."""
        self._orbax.close()


def latest_step(workdir: epath.PathLike) -> int | None:
    """The step of the latest whole checkpoint in a workdir; None without one."""
    folder = absolute(workdir) / FOLDER
    if not folder.exists():
        return None
    with ocp.training.Checkpointer(folder) as orbax:
        return orbax.latest.step if orbax.latest else None


def saved_stage(workdir: epath.PathLike, step: int) -> str:
    """The name of the stage to which a checkpoint belongs."""
    return _named(workdir, step)["stage"]


def saved_samples(workdir: epath.PathLike, step: int) -> int | None:
    """How many samples of its stage a checkpoint has taken; None of an old one, in which every step took a batch."""
    return _named(workdir, step).get("samples")


def check_text(workdir: epath.PathLike, step: int, text: str) -> None:
    """Raises ConfigError if a checkpoint was trained to read another text than `text`; "" is not compared."""
    saved = _named(workdir, step).get("text", "")
    if saved and text and saved != text:
        raise ConfigError(
            f"{_path(workdir, step)} was trained with the text source {saved!r}, and this run has {text!r}: set "
            "config.model.text (and, for clip, config.model.clip) to what it was trained with, or start a new workdir."
        )


def _named(workdir: epath.PathLike, step: int) -> dict[str, Any]:
    return ocp.metadata(_path(workdir, step), checkpointable_name="progress").custom_metadata


def restore(workdir: epath.PathLike, step: int, abstract: TrainState) -> TrainState:
    """Restores a checkpoint onto the devices of this run, be they as many as those that saved it or not.

    Args:
        workdir: of the run that wrote it.
        step: the global step.
        abstract: shapes and shardings of this run.

    Raises:
        ConfigError: a shape differs (the first is named, with both).
    """
    path = _path(workdir, step)
    wanted = _parts(abstract)
    for item in wanted:
        _check_shapes(path, item, wanted[item])
    restored = ocp.load_checkpointables(path, wanted)
    return TrainState(
        params=restored["params"],
        ema=restored["ema"],
        optimizer=restored["optimizer"],
        **restored["progress"],
    )


def load_average(workdir: epath.PathLike, abstract: Any, text: str = "", optional: Sequence[str] = ()) -> Any:
    """The averaged parameters of a workdir's latest checkpoint, for `config.init_from` and for inference.

    Args:
        workdir: of the run that wrote it.
        abstract: tree of `ShapeDtypeStruct` with shardings.
        text: as in `check_text`.
        optional: top-level prefixes that are left out if the checkpoint lacks them.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ConfigError: it was trained to read another text, or a parameter's shape differs.
    """
    step = latest_step(workdir)
    if step is None:
        raise FileNotFoundError(f"{workdir} holds no checkpoint: a workdir of train.py with a folder {FOLDER}/ would.")
    check_text(workdir, step, text)
    path = _path(workdir, step)
    saved = ocp.metadata(path, checkpointable_name="ema").metadata
    abstract = {prefix: tree for prefix, tree in abstract.items() if prefix in saved or prefix not in optional}
    _check_shapes(path, "ema", abstract)
    return ocp.load_checkpointables(path, {"ema": abstract})["ema"]


def _path(workdir: epath.PathLike, step: int) -> epath.Path:
    return absolute(workdir) / FOLDER / str(step)


def _parts(state: TrainState) -> dict[str, Any]:
    """The state as Orbax's named items; `ema` alone is what inference reads."""
    progress = {"step": state.step, "aux": state.aux}  # Orbax refuses an empty tree, and an aux may be empty
    return {"params": state.params, "ema": state.ema, "optimizer": state.optimizer, "progress": progress}


def _check_shapes(path: epath.Path, item: str, wanted: Any) -> None:
    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
        return {path_name(key): tuple(leaf.shape) for key, leaf in leaves}

    saved, now = shapes(ocp.metadata(path, checkpointable_name=item).metadata), shapes(wanted)
    for name in [*now, *(name for name in saved if name not in now)]:
        if saved.get(name) != now.get(name):
            raise ConfigError(
                f"{path} does not fit this run: {item}/{name} is {saved.get(name, 'absent')} there "
                f"and {now.get(name, 'absent')} here."
            )
