"""What a process does when another one of its run is gone."""

import contextlib
import os
import sys
from collections.abc import Iterator

import jax
from etils import epath


@contextlib.contextmanager
def leave_when_lost(workdir: epath.Path) -> Iterator[None]:
    """Ends this process with code 1 and one sentence when the devices of another no longer answer.

    At once: what an exit does (end a save, take leave of the coordinator) would wait minutes for the dead.

    Args:
        workdir: of the run, for the sentence.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        print(
            f"process {jax.process_index()} of {jax.process_count()} lost another process, or its devices failed "
            f"({str(error).splitlines()[0]}). The last whole checkpoint in {workdir} is untouched: the same command "
            "continues from it.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)
