from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract import extract as run_extract
from fit import fit_head
from fit.compare.chart import cost_chart
from fit.compare.costs import NO_SECONDS, NO_STORE, cost_notes, differing, measure_costs, pareto_front
from fit.compare.heads import compare_heads
from fit.head_folder import read_results
from store import open_store
from store.information import seconds_per_image

costs = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, 5.0, None]), st.sampled_from([0.1, 0.5, 0.7, None])))


@given(costs)
def test_the_front_has_exactly_the_points_that_none_beats(points):
    def beaten(point):
        return any(
            other[0] <= point[0] and other[1] >= point[1] and other != point for other in points if None not in other
        )

    expected = {at for at, point in enumerate(points) if None not in point and not beaten(point)}
    front = pareto_front(*([point[side] for point in points] for side in (0, 1)))
    assert set(front) == expected
    assert len(front) == len(expected)
    found = [points[at][0] for at in front]
    assert found == sorted(found)


def test_costs_are_those_of_the_records(color_store, tmp_path):
    results = read_results(fit_head(color_store, "centroid").save(tmp_path / "head"))
    costs = measure_costs(results)
    records = list(color_store.snapshot.records.values())
    assert all(record.seconds > 0 for record in records)
    assert costs.seconds_per_image == pytest.approx(sum(record.seconds for record in records) / 60)
    assert costs.bytes_per_image == sum(record.shard_bytes for record in records) / 60
    assert costs.fit_seconds == results.metrics["seconds"]
    assert costs.unknown == ""
    assert any("on CPU" in note for note in cost_notes([costs]))


def test_runs_note_the_seconds_of_each_shard_once(stub, colors, tmp_path):
    summary = run_extract(
        colors, out=tmp_path / "many", backbone="mobilenet", weights="random", image_size=(16, 16), shard_rows=7
    )
    records = open_store(tmp_path / "many").snapshot.records.values()
    assert len(records) == 9
    assert 0 < sum(record.seconds for record in records) <= summary.seconds + 0.1


def test_records_without_seconds_are_of_earlier_versions(color_store):
    (record, *_) = color_store.snapshot.records.values()
    without = replace(record, environment={**record.environment, "seconds": "nan"})
    assert without.seconds is None
    assert seconds_per_image([without]) is None
    assert seconds_per_image([without, record]) == pytest.approx(record.seconds / 60)
    copied = replace(record, environment={**record.environment, "copied": "3", "seconds": "9"})
    assert seconds_per_image([copied, record]) == pytest.approx(record.seconds / 60)


def moved_to(results, store):
    blocks = tuple(replace(block, store=store) for block in results.info.blocks)
    return replace(results, info=replace(results.info, blocks=blocks))


def test_costs_that_are_not_known_are_said(color_store, tmp_path, monkeypatch):
    results = read_results(fit_head(color_store, "centroid").save(tmp_path / "head"))
    moved = moved_to(results, str(tmp_path / "gone"))
    assert measure_costs(moved).unknown == NO_STORE
    other = read_results(fit_head(color_store, "knn").save(tmp_path / "other"))
    comparison = compare_heads([moved, other])
    assert (comparison.cost, comparison.front) == ("bytes_per_image", (1,))
    assert f"for 1 of 2 heads: {NO_STORE}" in comparison.notes
    monkeypatch.setattr("fit.compare.costs.seconds_per_image", lambda _: None)
    early = compare_heads([results, other])
    assert early.cost == "bytes_per_image"
    assert f"for 2 of 2 heads: {NO_SECONDS}" in early.notes
    assert [point.number for point in cost_chart(early).points] == [1, 2]
    assert cost_chart(compare_heads([moved, moved_to(other, "")])) is None


def test_an_output_has_its_part_of_the_bytes(layered, tmp_path, monkeypatch):
    store = open_store(layered)
    heads = [
        read_results(fit_head(store, "centroid", output=name).save(tmp_path / f"head{at}"))
        for at, name in enumerate(store.outputs)
    ]
    costs = [measure_costs(head) for head in heads]
    total = sum(record.shard_bytes for record in store.snapshot.records.values())
    assert sum(cost.bytes_per_image for cost in costs) == pytest.approx(total / 60)
    assert costs[0].bytes_per_image / costs[1].bytes_per_image == pytest.approx(5 * 4 / (7 * 2))
    assert any("several layers" in note for note in cost_notes(costs))
    assert differing([head.features for head in compare_heads(heads).heads]) == ["layer", "dtype"]


def test_points_are_where_the_values_are(color_store, tmp_path, monkeypatch):
    heads = [read_results(fit_head(color_store, name).save(tmp_path / name)) for name in ("centroid", "knn", "ridge")]
    comparison = compare_heads(heads)
    accuracies = (0.5, 0.9, 0.7)
    altered = tuple(
        replace(
            head,
            costs=replace(head.costs, seconds_per_image=seconds),
            validation=replace(head.validation, accuracy=replace(head.validation.accuracy, value=value, low=None)),
        )
        for head, seconds, value in zip(comparison.heads, (0.001, 0.1, 1.0), accuracies, strict=True)
    )
    chart = cost_chart(replace(comparison, heads=altered, cost="seconds_per_image", front=(0, 1)))
    x, y = ([getattr(point, name) for point in chart.points] for name in ("x", "y"))
    assert x == sorted(x)
    assert (x[1] - x[0]) / (x[2] - x[1]) == pytest.approx(2)
    assert np.argsort(y).tolist() == [1, 2, 0]
    assert [point.on_front for point in chart.points] == [True, True, False]
    assert chart.front.startswith(f"{x[0]:.1f},{y[0]:.1f} {x[1]:.1f},{y[0]:.1f} {x[1]:.1f},{y[1]:.1f} 400.0,")
    assert {"1", "10", "100", "1,000"} <= {tick.label for tick in chart.across}
    labels = sorted(point.label for point in cost_chart(replace(comparison, heads=comparison.heads * 4)).points)
    assert min(np.diff(labels)) >= 12.9
