"""The library that Keras computes with: which one it is, and starting it."""

import importlib.util
import os
import sys
from types import ModuleType

from extract.process_state import environment, environment_defaults, quiet_libraries
from store.errors import UsageError
from store.suggestions import suggest_install

BACKENDS = ("tensorflow", "jax", "torch")


def backend_name() -> str:
    """The library that Keras computes with: the one that KERAS_BACKEND names, otherwise tensorflow.

    What keras.json says does not count: it may be that of another project, or of an old Keras.
    """
    if loaded := sys.modules.get("keras"):  # a program that uses us may have imported it before
        return str(loaded.backend.backend())
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
        UsageError: see `require_backend`; or Keras cannot read its configuration.
    """
    require_backend()
    first = "keras" not in sys.modules
    # Otherwise JAX takes three quarters of each GPU's memory (docs.jax.dev, gpu_memory_allocation), also in the main
    # process of a run whose workers compute. It reads this when it starts. For TensorFlow, see extract.runtimes.device.
    with (
        environment_defaults(XLA_PYTHON_CLIENT_PREALLOCATE="false"),
        environment(KERAS_BACKEND=backend_name()),
        quiet_libraries(debug),
    ):
        try:
            import keras
        except ValueError as error:
            raise UsageError(f"Keras cannot be imported ({error}): correct or delete its keras.json") from error
        if first:
            _forget_configuration(keras.config)
        keras.ops.zeros(())


def _forget_configuration(config: ModuleType) -> None:
    """Put back the values that a keras.json has changed; nobody has used Keras in this process yet."""
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")
