"""The environment of a process that takes this machine's CPU for several devices."""

import os
import pathlib

import jax

ROOT = pathlib.Path(__file__).resolve().parents[1]


def environment(devices: int) -> dict[str, str]:
    """Compiles without LLVM's optimisations, which take longer than what the tests compute, into the tests' cache."""
    given = os.environ.get("XLA_FLAGS", "")
    flags = f"{given} --xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
