"""What every test shares: absl flags for Grain, one compilation cache, the real images if they are there."""

import os
import pathlib

import jax
import pytest
from absl import flags

flags.FLAGS.mark_as_parsed()
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", "/tmp/lure_jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

ROOT = pathlib.Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that both processes have work until the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real images; the test is skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("LURE_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("no real images: neither ../shared nor $LURE_SHARED holds data/")
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """An empty folder for built data sets, and a cache that lies in it."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield str(folder)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Hundreds of compiled programs would fill the memory; the cache on disk keeps them for whoever shares them."""
    yield
    jax.clear_caches()
