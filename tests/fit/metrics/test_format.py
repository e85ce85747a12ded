"""Errors have the unit of the labels, whatever that is; other metrics have three digits behind the point."""

import pytest

from fit.curve.run import Curve, CurvePoint, CurveStep
from fit.curve.text import describe_curve, format_curve
from fit.metrics.format import format_interval, format_values
from fit.metrics.intervals import Interval
from fit.page.numbers import number
from fit.text import format_by, format_metrics

ERROR = "mean_absolute_error"
TINY = {"value": 0.00012346, "low": 0.00011111, "high": 0.00013}
LARGE = {"value": 1234.6, "low": 987.62, "high": 1400.0}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.00012346, 0.0000987, 0.00013], ["0.0001235", "0.0000987", "0.0001300"]),
        ([18.3, 17.1, 19.7], ["18.30", "17.10", "19.70"]),
        ([1234.6, 987.62, 1400.0], ["1,235", "988", "1,400"]),
        ([1234567.0], ["1,235,000"]),
        ([1.234567e-6, 1e-7], ["1.235e-06", "1.000e-07"]),
        ([1.234567e12], ["1.235e+12"]),
        ([0.0], ["0.000"]),
        ([9.9996], ["10.00"]),
        ([999.96, -1.0], ["1,000", "-1"]),
        ([float("inf"), 1.0], ["inf", "1.000"]),
        ([1.0, float("nan")], ["1.000", "nan"]),
        ([float("nan")], ["nan"]),
    ],
)
def test_the_largest_of_some_errors_has_four_digits_and_the_others_as_many_decimals(values, words):
    assert format_values(ERROR, values) == words


def test_other_metrics_have_three_decimals_and_none_where_they_are_large():
    assert format_values("r2", [0.00012346, -0.0001, -12345.6]) == ["0.000", "0.000", "-12,346"]


def test_a_difference_has_its_sign():
    assert format_interval(ERROR, {"value": 0.00002, "low": -0.0004, "high": 0.00044}, "+") == (
        "+0.0000200 (-0.0004000..+0.0004400)"
    )
    assert format_interval("accuracy", {"value": 0.0, "low": None, "high": None}, "+") == "+0.000"


@pytest.mark.parametrize(
    ("error", "ends"), [(TINY, ("0.0001235", "0.0001111", "0.0001300")), (LARGE, ("1,235", "988", "1,400"))]
)
def test_tables_and_pages_write_an_error_alike(error, ends):
    value, low, high = ends
    shown = f"{value} ({low}..{high})"
    scores = {
        "rows": 200,
        ERROR: error,
        "root_mean_squared_error": {**error, "low": None},
        "r2": error,
        "spearman": error,
    }
    rows = {row[0]: row[1:] for row in format_metrics({"task": "regression", "validation": scores, "baseline": scores})}
    assert rows["mean absolute error"] == [shown, value]
    assert rows["root mean squared error"] == [value, value]
    assert (
        format_by({"of": "cv", "column": "group", "values": [{"value": "a", "rows": 3, ERROR: error}]})[1][2] == shown
    )
    page = number(ERROR, error)
    assert (page.value, page.interval) == (value, f"{low} to {high}")


def test_a_curve_of_tiny_errors_shows_them():
    score, change = Interval(**TINY), Interval(-0.00002, -0.00005, 0.00001)
    points = [CurvePoint(images, 1, {ERROR: score}) for images in (100, 200)]
    curve = Curve("ridge", 40, points, [CurveStep(100, 200, {ERROR: change})], [])
    assert format_curve(curve)[2][1:] == [
        "0.0001235 (0.0001111..0.0001300)",
        "-2.000e-05 (-5.000e-05..+1.000e-05)",
    ]
    assert describe_curve(curve)[0].endswith("an error smaller by 5.000e-05")
