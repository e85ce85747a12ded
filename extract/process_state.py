"""Keeping the start-up noise of TensorFlow, absl and CUDA off the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_start(debug: bool = False) -> Iterator[None]:
    """While open, nothing written to file descriptor 2 is shown: much of the noise comes from C++, past Python.

    An exception passes through as ever. With `debug`, everything is shown.
    """
    if debug:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for name in ("tensorflow", "absl", "jax"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
