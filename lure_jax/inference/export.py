"""Models written for elsewhere: Orbax folder, .safetensors, StableHLO, ONNX; behind `lure export`."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shlex
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lure_jax.errors import UserError
from lure_jax.inference import portable, single_file, weights
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import AUTO, SLOTS, Prompt
from lure_jax.text.conditions import CONDITIONS, MODALITIES
from lure_jax.text.prompts import prompt_ids

SUFFIXES = {"orbax": "", "safetensors": single_file.SUFFIX, "stablehlo": ".stablehlo", "onnx": ".onnx"}
PROGRAMS = {"stablehlo": portable.stablehlo, "onnx": portable.onnx}
# docs/requirements-onnx.txt without the exact versions.
ONNX_PACKAGES = ("jax2onnx>=0.17,<0.18", "onnxruntime", "safetensors", "ml_collections", "jaxtyping", "etils[epath]",
                 "importlib_resources", "click", "pillow")  # fmt: skip
_MEANINGS = {
    "visible": "sRGB as stored, in [0, 1]; a grey image three times",
    "infrared": "in [0, 1], registered to the visible image",
    "visible_ids": "what is wrong with the visible image, see prompt_ids",
    "infrared_ids": "what is wrong with the infrared image, see prompt_ids",
}


class ExportError(UserError):
    """An export that is not possible; the message says what would be."""


def export(
    model: str,
    form: str,
    output: os.PathLike,
    *,
    prompt: str = "",
    overwrite: bool = False,
    tell: Callable[[str], None] = print,
) -> list[pathlib.Path]:
    """Writes a model in another form.

    Args:
      model: name, folder, training workdir or .safetensors file.
      form: a key of `SUFFIXES`.
      output: the folder of "orbax", else a file with the form's suffix.
      prompt: "auto" or a sentence, baked into a program ("stablehlo", "onnx"), which else takes the ids of prompts.
      overwrite: replace what exists.
      tell: called with warnings.

    Returns:
      What was written; beside a program lies its description, OUTPUT.json.

    Raises:
      UserError: no such model, an output that does not fit or exists, a prompt where none can be, no jax2onnx.
    """
    output = pathlib.Path(output)
    _check_output(form, output, overwrite)
    if prompt and form not in PROGRAMS:
        raise ExportError(
            f"--prompt {prompt!r} can't be baked into {form}, which holds weights; stablehlo and onnx can."
        )
    if form == "onnx" and importlib.util.find_spec("jax2onnx") is None:
        raise ExportError(how_to_onnx(model, output))
    released = weights.load(model)
    prompts = released.model.prompts
    described = released.config, released.threshold_of, prompts
    if form == "orbax":
        config, thresholds, _ = described
        weights.save(output, released.params, config, thresholds, prompts, released.licence)
        return [output]
    if form == "safetensors":
        encoded = prompts.write() if prompts else b""
        single_file.write(output, released.params, weights.describe(*described), encoded, released.licence)
        return [output]
    program = PROGRAMS[form](released, _read(released, prompt, tell))
    description = json.dumps(describe(released, form, prompt), indent=2) + "\n"
    return [_write(output, program), _write(output.with_name(f"{output.name}.json"), description.encode())]


def describe(released: weights.Released, form: str, prompt: str) -> dict[str, Any]:
    """What a program's user has to know: inputs, output, the ids of prompts, licence."""
    taken = portable.arguments(released, baked=bool(prompt))
    description = {
        "form": form,
        "model": released.config,
        "written_with": {"jax": jax.__version__},
        "sizes": "b, h and w are any from 1; the border is repeated inside",
        "inputs": [
            {"name": name, "shape": shape, "type": np.dtype(dtype).name, "meaning": _MEANINGS[name]}
            for name, (shape, dtype) in taken.items()
        ],
        "output": {"name": "fused", "shape": "b, h, w, 3", "type": "float32", "meaning": "sRGB in [0, 1]"},
    }
    if form == "stablehlo":
        description["platforms"] = portable.PLATFORMS
    if prompt:
        description["prompt"] = prompt
    elif portable.reads_text(released):
        description["prompt_ids"] = {
            "auto": f"{AUTO} in all {SLOTS} places: the network judges the image",
            "none": "-1, in the places that are left",
            **{modality: _ids_of(modality) for modality in MODALITIES},
        }
    return description | {"licence": released.licence}


def how_to_onnx(model: str, output: os.PathLike) -> str:
    """The commands for who has no jax2onnx."""
    root = pathlib.Path(__file__).resolve().parents[2]
    ours = root if (root / "pyproject.toml").exists() else f"lure-jax=={importlib.metadata.version('lure-jax')}"
    model, output, ours = (shlex.quote(str(part)) for part in (model, output, ours))
    return "\n".join([
        "ONNX is written by jax2onnx, which needs another Orbax than lure-jax, so it gets an environment of its own:",
        "  python -m venv onnxenv",
        f"  onnxenv/bin/pip install {shlex.join(ONNX_PACKAGES)}",
        f"  onnxenv/bin/pip install --no-deps {ours}",
        f"  lure export --model {model} --format safetensors --output model.safetensors",
        f"  onnxenv/bin/lure export --model model.safetensors --format onnx --output {output}",
    ])  # fmt: skip


def _ids_of(modality: str) -> dict[str, int]:
    """Condition -> id of its first prompt."""
    return {c.name: int(prompt_ids([i], 1)[0]) for i, c in enumerate(CONDITIONS) if c.modality == modality}


def _read(released: weights.Released, prompt: str, tell: Callable[[str], None]) -> Prompt | None:
    if not prompt:
        return None
    if not portable.reads_text(released):
        raise ExportError(f"--prompt {prompt!r}: a {released.config['name']} model reads no text; leave it out.")
    read = Fuser(released).read_prompt(prompt)
    for warning in read.warnings:
        tell(warning)
    return read


def _check_output(form: str, output: pathlib.Path, overwrite: bool) -> None:
    suffix = SUFFIXES[form]
    if suffix and output.suffix != suffix:
        raise ExportError(f"The output {output} must end in {suffix}.")
    if not output.exists():
        return
    if not overwrite:
        raise ExportError(f"{output} already exists; give --overwrite to replace.")
    if output.is_dir() != (form == "orbax") or output.is_dir() and not (output / weights.CONFIG).exists():
        raise ExportError(f"{output} exists and is no earlier export; name another output.")


def _write(path: pathlib.Path, data: bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.writing")
    draft.write_bytes(data)
    draft.replace(path)
    return path
