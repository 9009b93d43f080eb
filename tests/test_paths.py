"""Local paths become absolute, bucket paths stay."""

import os

from lure_jax.paths import absolute


def test_local_and_bucket():
    assert os.fspath(absolute("runs/x")) == os.path.join(os.getcwd(), "runs/x")
    assert os.fspath(absolute("/tmp/x")) == "/tmp/x"
    assert os.fspath(absolute("gs://bucket/x")) == "gs://bucket/x"
