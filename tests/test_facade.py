"""`import stillframe as sf`: one import with everything that a script needs, loaded on first use."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest

import stillframe
from extract.request import RunOptions
from fit.options import FitOptions
from store import errors

ROOT = Path(stillframe.__file__).parent
SCRIPT = """
import numpy as np
import PIL.Image

import stillframe as sf

result = sf.extract(
    "data/", out="store", backbone="inception_v3", image_size=(224, 224), layer=("mixed5",), max_runtime="8h", progress=True
)
head = sf.fit_head("store", head="logistic", reduce="max", val=0.1, cv=3, epochs=5, parameters={"C": 1}, progress=True)
head.save("heads/logistic")
table = sf.load_head("heads/logistic").predict(["images/", np.zeros((8, 8, 3), np.uint8), PIL.Image.new("RGB", (8, 8))])
"""


def test_the_exported_names_are_sorted_and_exist():
    assert stillframe.__all__ == sorted(stillframe.__all__)
    for name in stillframe.__all__:
        assert getattr(stillframe, name).__name__ == name
    assert set(stillframe.__all__) <= set(dir(stillframe))


def test_every_error_is_exported():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds <= set(stillframe.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="fit_haed"):
        stillframe.fit_haed  # noqa: B018


@pytest.mark.parametrize(
    ("function", "options", "others"),
    [
        (stillframe.extract, RunOptions, {"max_runtime", "progress"}),
        (
            stillframe.fit_head,
            FitOptions,
            {"store", "epochs", "batch_size", "learning_rate", "optimizer", "like", "progress"},
        ),
    ],
)
def test_parameters_are_named_as_options_and_documented(function, options, others):
    parameters = inspect.signature(function).parameters
    assert set(parameters) == {field.name for field in dataclasses.fields(options)} | others
    for field in dataclasses.fields(options):
        if get_origin(field.type) is Annotated:
            plain, shown = get_args(field.type)
            assert f"    {field.name}: {shown.help}\n" in function.__doc__
            assert parameters[field.name].annotation == plain
            assert not getattr(shown, "flags", ()) or f"--{field.name.replace('_', '-')}" in shown.flags
    assert "Args:\n" in function.__doc__
    assert "Raises:\n" in function.__doc__


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(errors.UsageError, match=r"no parameter 'epoch': did you mean epochs\?"):
        stillframe.fit_head("store", epoch=3)
    with pytest.raises(errors.UsageError, match=r"no parameter 'max_run_time': did you mean max_runtime\?"):
        stillframe.extract("data", max_run_time="8h")


def test_a_name_of_an_earlier_version_still_works(tmp_path):
    with (
        pytest.warns(DeprecationWarning, match="the parameter validation is now val"),
        pytest.raises(errors.UsageError, match=r"--val is 2: expected a fraction"),
    ):
        stillframe.fit_head(tmp_path, validation=2)
    with (
        pytest.warns(DeprecationWarning, match="the parameter layers is now layer"),
        pytest.raises(errors.UsageError, match="--layer names the same layer twice"),
    ):
        stillframe.extract(tmp_path, layers=("a", "a"))


@pytest.mark.parametrize("module", ["stillframe", "cli"])
def test_importing_it_loads_no_numerical_library(module):
    heavy = ("keras", "tensorflow", "sklearn", "h5py", "dask", "distributed", "pyarrow", "matplotlib", "numpy", "PIL")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "Success"),
        (("backbone=", "backbnoe="), 'Unexpected keyword argument "backbnoe"'),
        (('head="logistic"', "head=3"), 'incompatible type "int"'),
        (("sf.load_head", "sf.load_haed"), 'has no attribute "load_haed"'),
    ],
)
def test_a_type_checker_knows_what_a_script_may_write(wrong, message, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace(*wrong) if wrong else SCRIPT)
    mypy = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", script]
    done = subprocess.run(mypy, capture_output=True, text=True, check=False, cwd=ROOT)
    assert message in done.stdout
    assert done.returncode == (wrong is not None)
