import pickle

import pytest

from store import errors


@pytest.mark.parametrize(
    ("error", "code", "builtin"),
    [
        (errors.StillframeError, 1, Exception),
        (errors.UsageError, 2, ValueError),
        (errors.NotAStore, 2, ValueError),
        (errors.RecipeMismatch, 2, ValueError),
        (errors.TooManyFailures, 3, Exception),
        (errors.DamagedStore, 4, Exception),
        (errors.EnvironmentFailure, 74, OSError),
        (errors.StoppedEarly, 75, Exception),
    ],
)
def test_each_error_has_its_exit_code_and_is_a_builtin_one_too(error, code, builtin):
    assert error.exit_code == code
    assert issubclass(error, builtin)
    assert issubclass(error, errors.StillframeError)


def test_an_example_is_shown_below_the_message_and_reaches_other_processes():
    error = pickle.loads(pickle.dumps(errors.UnsafeFile("write a file", "a = 1\nb = 2\n")))
    assert (error.message, error.example) == ("write a file", "a = 1\nb = 2\n")
    assert str(error) == "write a file\n\na = 1\nb = 2\n"
    assert str(errors.UsageError("alone")) == "alone"
