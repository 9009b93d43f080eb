"""The wheel holds every file that the package needs, and nothing else."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("lure_jax", "tfds_builders", "configs")


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_packages(tmp_path):
    source = tmp_path / "source"  # a copy: setuptools leaves folders behind
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    expected = {path.relative_to(source).as_posix() for name in PACKAGES for path in (source / name).rglob("*.*")}
    expected |= {path.relative_to(source).as_posix() for path in (source / "lure_jax" / "weights").rglob("*")}
    expected = {name for name in expected if (source / name).is_file()}
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("lure_jax-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    info = f"{wheel.name.rsplit('-', 3)[0]}.dist-info"
    held = {name for name in names if not name.startswith(info)}
    assert held == expected
    assert "lure_jax/weights/lure_tiny/params/_CHECKPOINT_METADATA" in held
    licence = "licenses/lure_jax/weights/lure_tiny/LICENSE.md"
    assert {f"{info}/entry_points.txt", f"{info}/licenses/LICENSE", f"{info}/{licence}"} <= names
