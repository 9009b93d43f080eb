"""The examples of docs/export.md do what the page says, word for word."""

import json
import os
import pathlib
import re
import shlex
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lure_jax.cli import main
from lure_jax.inference import weights
from lure_jax.inference.fuser import Fuser

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "export.md").read_text()
ONNXENV = os.environ.get("LURE_ONNXENV")


def example(name: str) -> tuple[list[str], str]:
    """The commands and the Python of the example of that name."""
    found = re.search(rf"<!-- example {name} -->\n```\n(.*?)```\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    return found[1].strip().splitlines(), found[2]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a small pair, neither side a multiple of 8, to work in."""
    for name in ("visible", "infrared"):
        Image.open(ROOT / "docs" / "images" / f"{name}.png").crop((100, 100, 161, 145)).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def fuser():
    return Fuser.load("lure_tiny")


def pair():
    return [np.asarray(Image.open(f"{name}.png")) for name in ("visible", "infrared")]


def fused():
    return np.asarray(Image.open("fused.png")).astype(int)


def lure(command: str) -> None:
    result = CliRunner().invoke(main, shlex.split(command.removeprefix("lure ")))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["safetensors", "orbax", "stablehlo", "onnx"])
def test_the_page_has_an_example_of_ten_lines(name):
    commands, code = example(name)
    assert commands and all(f"--format {name}" in command or "lure.safetensors" in command for command in commands)
    assert len([line for line in code.splitlines() if line and not line.startswith(("import", "from"))]) <= 10


def test_safetensors(place, fuser):
    commands, code = example("safetensors")
    lure(*commands)
    exec(code, {})
    np.testing.assert_array_equal(fused(), fuser.fuse(*pair()))


def test_orbax(place):
    commands, code = example("orbax")
    lure(*commands)
    exec(code, {})
    released = weights.load("lure_tiny")
    np.testing.assert_array_equal(fused(), Fuser(released._replace(thresholds=released.thresholds / 2)).fuse(*pair()))
    assert (place / "mine" / "LICENSE.md").read_text() == released.licence


def test_stablehlo(place, fuser):
    commands, code = example("stablehlo")
    lure(*commands)
    assert "lure_jax" not in code
    exec(code, names := {})
    assert np.abs(fused() - fuser.fuse(*pair())).max() <= 1  # rounded to 8 bits
    exec(re.search(r"```python\n(ids = .*?)```", PAGE, re.DOTALL)[1], names | {"json": json}, names)
    asked = names["fuse"](names["visible"], names["infrared"], names["hazy"], names["auto"])
    expected = fuser.fuse(*pair(), {"visible": "haze"})
    assert np.abs(np.asarray(asked)[0] * 255 - expected).max() < 0.51


@pytest.mark.slow
@pytest.mark.skipif(not ONNXENV, reason="set LURE_ONNXENV to an environment of docs/requirements-onnx.txt")
def test_onnx(place, fuser):
    commands, code = example("onnx")
    lure(commands[0])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    python = pathlib.Path(ONNXENV) / "bin" / "python"
    there = commands[1].replace("onnxenv/bin/lure", f"{python} -m lure_jax.cli")
    subprocess.run(shlex.split(there), check=True, env=environment)
    subprocess.run([python, "-c", code], check=True)  # without lure_jax
    assert np.abs(fused() - fuser.fuse(*pair())).max() <= 1
    benchmark = [python, ROOT / "benchmarks" / "onnx_runtime.py", "--model", "lure.safetensors", "--onnx", "fuse.onnx"]
    subprocess.run([*benchmark, "--size", "61x45", "8x8", "--repeats", "1"], check=True, env=environment)
