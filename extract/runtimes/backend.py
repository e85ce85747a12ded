"""The library that Keras computes with: which one it is, and starting it."""

import importlib.util
import os

from extract.process_state import environment_defaults, quiet_libraries
from store.errors import UsageError
from store.suggestions import suggest_install

BACKENDS = ("tensorflow", "jax", "torch")


def backend_name() -> str:
    """The library that Keras computes with: the one that KERAS_BACKEND names, otherwise tensorflow."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def require_backend() -> None:
    """Raise UsageError unless the library that KERAS_BACKEND names is one of BACKENDS and installed."""
    name = backend_name()
    if name not in BACKENDS:
        raise UsageError(f"KERAS_BACKEND is {name!r}: expected {', '.join(BACKENDS)}, or nothing for tensorflow")
    if importlib.util.find_spec(name) is None:
        raise UsageError(
            f"KERAS_BACKEND is {name!r}, which is not installed: {suggest_install(name)}, or choose another"
        )


def start_keras(debug: bool = False) -> None:
    """Import Keras and start its backend, without the messages that both print unless `debug`.

    Raises:
        UsageError: see `require_backend`.
    """
    require_backend()
    # Otherwise JAX takes three quarters of each GPU's memory (docs.jax.dev, gpu_memory_allocation), also in the main
    # process of a run whose workers compute. It reads this when it starts. For TensorFlow, see extract.runtimes.device.
    with environment_defaults(XLA_PYTHON_CLIENT_PREALLOCATE="false"), quiet_libraries(debug):
        import keras

        keras.ops.zeros(())
