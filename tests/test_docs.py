"""The pages under docs/: their commands and examples, run word for word; the site builds without a warning."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lure_jax.cli import main
from lure_jax.inference import export, weights
from lure_jax.inference.fuser import Fuser
from lure_jax.text.conditions import CONDITIONS, clean_id
from lure_jax.text.sentences import resolve
from tfds_builders.scene_render import render_scene

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "export.md").read_text()
SHORT = ("steps=2", "batch=2", "crop=48", "warmup=1")  # what a stage is cut to
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
    lure(commands[0])
    exec(code, {})
    np.testing.assert_array_equal(fused(), fuser.fuse(*pair()))


def test_orbax(place):
    commands, code = example("orbax")
    lure(commands[0])
    exec(code, {})
    released = weights.load("lure_tiny")
    np.testing.assert_array_equal(fused(), Fuser(released._replace(thresholds=released.thresholds / 2)).fuse(*pair()))
    assert (place / "mine" / "LICENSE.md").read_text() == released.licence


def test_stablehlo(place, fuser):
    commands, code = example("stablehlo")
    lure(commands[0])
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


def test_the_prompts_of_the_table_say_what_the_table_says():
    """Each line of "Which prompt when" names another condition, and together they name all."""
    page = (ROOT / "docs" / "prompts.md").read_text()
    found = [resolve(prompt) for prompt in re.findall(r"^\| [^|]* \| `([^`]*)` \|", page, re.MULTILINE)]
    assert not [resolved.unknown for resolved in found if resolved.unknown]
    clean = clean_id("visible"), clean_id("infrared")
    named = [{*resolved.visible, *resolved.infrared} - {*clean} for resolved in found]
    assert named[0] == set() and [len(conditions) for conditions in named[1:]] == [1] * (len(CONDITIONS) - 2)
    assert set().union(*named) == set(range(len(CONDITIONS))) - {*clean}


@pytest.fixture
def cameras(tmp_path, monkeypatch):
    """What two cameras side by side would give: `vis` and, of fewer pixels and another view, `ir`."""
    for index in range(4):
        scene = render_scene(7, index, 192, 256)
        infrared = Image.fromarray(scene.infrared[..., 0]).crop((6, 4, 256, 188)).resize((200, 150))
        for folder, image in (("vis", Image.fromarray(scene.visible)), ("ir", infrared)):
            (tmp_path / folder).mkdir(exist_ok=True)
            image.save(tmp_path / folder / f"{index:04d}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(command: str, workdir: pathlib.Path, really: bool) -> None:
    """Two steps a stage; or in the place of the trained model the one it starts from."""
    if not really:
        export.export("lure_tiny", "orbax", workdir / "model")
        return
    short = [f"--config.stages.{stage}.{key}" for stage in ("space", "rule") for key in SHORT]
    script = command.replace("python train.py", f"{sys.executable} {ROOT / 'train.py'}")
    subprocess.run([*shlex.split(script), *short], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.slow
@pytest.mark.parametrize(
    "training",
    [
        "left out",
        pytest.param(
            "two steps", marks=pytest.mark.skipif("LURE_DOCS_TRAIN" not in os.environ, reason="LURE_DOCS_TRAIN")
        ),
    ],
)
def test_own_cameras_from_two_folders_to_a_model(cameras, training):
    """Every command of docs/own_cameras.md, without LURE_DOCS_TRAIN all but the slow ones."""
    page = (ROOT / "docs" / "own_cameras.md").read_text()
    path, recipe = re.search(r"<!-- file (\S+) -->\n```python\n(.*?)```", page, re.DOTALL).groups()
    (cameras / path).parent.mkdir()
    (cameras / path).write_text(recipe)
    for slowly, block in re.findall(r"<!-- run( slowly)? -->\n```\n(.*?)```", page, re.DOTALL):
        for command in block.splitlines():
            if command.startswith("python train.py"):
                train(command, cameras / "runs" / "own", really=training != "left out")
            elif not slowly or training != "left out":
                lure(command)
    assert len(list((cameras / "fused_own").glob("*.png"))) == len(list((cameras / "aligned/visible").iterdir())) >= 3
    assert Fuser.load("own.safetensors").config["preset"] == "tiny"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    told = subprocess.run(build, capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    assert "dark and noisy" in (tmp_path / "api" / "inference.html").read_text()
    pages = "".join(path.read_text() for path in tmp_path.rglob("*.html"))
    assert not re.findall(r'<(?:script|link)[^>]* (?:src|href)="https?://', pages)  # nothing is fetched from elsewhere
