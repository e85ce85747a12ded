"""`import stillframe as sf`: one import with everything that a script needs, loaded on first use."""

import subprocess
import sys
from pathlib import Path

import pytest

import stillframe
from store import errors

ROOT = Path(stillframe.__file__).parent
SCRIPT = """
import stillframe as sf

result = sf.extract("data/", out="store", backbone="inception_v3", image_size=(224, 224))
head = sf.fit_head("store", head="logistic")
head.save("heads/logistic")
table = sf.load_head("heads/logistic").predict("images/")
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


def test_importing_it_loads_no_numerical_library():
    heavy = ("keras", "tensorflow", "sklearn", "h5py", "dask", "distributed", "pyarrow", "matplotlib")
    code = f"import sys, stillframe; print([name for name in {heavy} if name in sys.modules])"
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
