"""Imports point down only: the floors of the house."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLOORS = {  # package -> what it may import, besides itself
    "weights": set(),
    "metrics": set(),
    "text": set(),
    "models": {"text", "metrics"},
    "objectives": {"models", "text", "metrics"},
    "data": {"models", "text", "metrics", "tfds_builders"},
    "tfds_builders": {"data", "models", "text", "metrics"},  # one floor with data
    "training": {"text", "metrics"},
    "inference": {"data", "models", "text", "metrics"},
    "evaluation": {"inference", "training", "objectives", "data", "models", "text", "metrics", "tfds_builders"},
    "serve": {"evaluation", "inference", "data", "models", "text", "metrics", "tfds_builders"},
}
EVERYWHERE = {"errors", "paths"}
TOPS = ("train.py", "lure_jax/cli.py", "lure_jax/cli_data.py", "lure_jax/cli_evaluate.py", "lure_jax/cli_plan.py")


def imported(path: pathlib.Path) -> set[str]:
    """Packages of ours a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "lure_jax" and len(parts) > 1:
                found.add(parts[1])
            elif parts[0] in ("tfds_builders", "configs"):
                found.add(parts[0])
    return found


def files(package: str) -> list[pathlib.Path]:
    folder = ROOT / package if package == "tfds_builders" else ROOT / "lure_jax" / package
    return sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("package", FLOORS)
def test_imports_point_down(package):
    assert files(package)
    for path in files(package):
        forbidden = imported(path) - FLOORS[package] - EVERYWHERE - {package}
        assert not forbidden, f"{path.relative_to(ROOT)} imports {', '.join(sorted(forbidden))}"


def test_every_package_has_a_floor():
    packages = {path.parent.name for path in (ROOT / "lure_jax").glob("*/__init__.py")}
    assert packages <= set(FLOORS)
    single = {path.stem for path in (ROOT / "lure_jax").glob("*.py")}
    assert single <= EVERYWHERE | {"__init__", "cli", "cli_data", "cli_evaluate", "cli_plan"}


def test_the_check_sees_an_import_that_climbs(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from lure_jax.training import loop\n    import lure_jax.cli\n")
    assert imported(bad) == {"training", "cli"}


def test_training_names_no_model_loss_or_evaluator():
    text = "\n".join(path.read_text().lower() for path in files("training"))
    assert not [word for word in ("lure_space", "fuser", "psnr") if f'"{word}' in text]
