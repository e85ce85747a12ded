"""Which images are for what: a fit, its final fit, and folds; groups whole, and every image's views together."""

import numpy as np
import pyarrow as pa
import pytest

from extract.api import Reporter
from fit.data import InMemory
from fit.experiment import Experiment
from fit.heads.table import get_head
from fit.labelled import LabelledImages, label_images
from fit.options import FitOptions
from fit.rows import ImageRows
from fit.splits import find_split_groups, split_rows
from fit.task import find_task
from store.errors import UsageError

VIEWS = 2


def experiment(count=24, validation=0.25, views=VIEWS, group_size=2, stop=0.25):
    """Images of two classes in groups of two; the feature of view v of image i is (i, v)."""
    paths = [f"{number:02d}.png" for number in range(count)]
    labels = ["a" if number % (2 * group_size) < group_size else "b" for number in range(count)]
    rows = ImageRows(pa.table({"path": paths, "label": labels, "sha256": paths}), np.arange(count))
    task, targets = find_task(labels, paths)
    groups = find_split_groups(paths, [str(number // group_size) for number in range(count)], seed=0)
    split = split_rows([None] * count, task.strata(targets), groups, validation, 0.25)
    values = np.array([(image, view) for image in range(count) for view in range(views)], np.float32)
    images = LabelledImages(rows, task, targets, groups, split)
    return Experiment(images, InMemory(values), views, stop, seed=0)


@pytest.mark.parametrize("which", ["first_roles", "final_roles"])
def test_a_head_that_stops_early_stops_on_an_inner_part_of_what_it_learns_from(which):
    made = experiment()
    groups, roles = made.images.split_groups.of_rows, getattr(made, which)(stops_early=True)
    images = made.split.train if which == "first_roles" else made.split.development
    assert sorted([*roles.learn, *roles.stop]) == images.tolist()
    assert len(roles.stop) > 0
    assert not set(groups[roles.learn]) & set(groups[roles.stop])
    assert not set(roles.stop) & set(made.split.test)


def test_validation_stops_no_head_that_it_judges():
    made = experiment()
    roles = made.first_roles(stops_early=True)
    assert not set(made.split.validation) & {*roles.learn, *roles.stop}


def test_the_head_that_is_kept_learns_from_train_and_validation_whatever_its_kind():
    made = experiment()
    for stops_early in (False, True):
        roles = made.final_roles(stops_early)
        assert sorted([*roles.learn, *roles.stop]) == made.split.development.tolist()
        assert (len(roles.stop) > 0) == stops_early
    assert not made.first_is_final
    assert experiment(validation=0.0).first_is_final


def test_a_head_that_may_not_stop_early_learns_from_all():
    roles = experiment(stop=0.0).first_roles(stops_early=True)
    assert len(roles.stop) == 0


@pytest.mark.parametrize("stops_early", [False, True])
@pytest.mark.parametrize("repeat", [0, 1])
def test_folds_predict_every_image_but_test_once_by_a_fit_that_has_not_seen_its_group(stops_early, repeat):
    made = experiment()
    groups, development = made.images.split_groups.of_rows, made.split.development
    seen = []
    for fold in made.folds(3, repeat, stops_early):
        roles = fold.roles
        used = np.concatenate([roles.learn, roles.stop])
        assert sorted([*used, *fold.predicted]) == development.tolist()
        assert not set(groups[used]) & set(groups[fold.predicted])
        assert not set(groups[roles.learn]) & set(groups[roles.stop])
        assert (len(roles.stop) > 0) == stops_early
        seen += fold.predicted.tolist()
    assert sorted(seen) == development.tolist()


def test_another_repeat_has_other_folds():
    made = experiment()
    first, second = ([fold.predicted.tolist() for fold in made.folds(3, repeat, False)] for repeat in (0, 1))
    assert first != second
    assert first == [fold.predicted.tolist() for fold in made.folds(3, 0, False)]


def test_more_folds_than_groups_are_refused():
    with pytest.raises(UsageError, match=r"--cv 30: fold \d+ would be empty; ask for fewer folds"):
        list(experiment().folds(30, 0, stops_early=False))


def test_all_views_are_learnt_from_and_the_unaltered_one_is_evaluated():
    made = experiment()
    images = np.array([3, 7])
    source = made.learning(images)
    assert source.features.take(source.rows).tolist() == [[3, 0], [3, 1], [7, 0], [7, 1]]
    assert source.targets[source.rows].tolist() == made.images.targets[[3, 3, 7, 7]].tolist()
    groups = made.images.split_groups.of_rows
    assert made.split_groups(source).tolist() == groups[[3, 3, 7, 7]].tolist()
    unaltered = made.unaltered(images)
    assert unaltered.features.take(unaltered.rows).tolist() == [[3, 0], [7, 0]]
    assert unaltered.targets[unaltered.rows].tolist() == made.images.targets[images].tolist()


def test_labelling_a_store_reports_what_it_leaves_out(color_store, tmp_path):
    paths = color_store.table()["path"].to_pylist()
    lines = [f"{path},{path.split('/')[0]}" for path in paths[4:]]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join([*lines, "gone.png,red"]) + "\n")
    messages = []
    options = FitOptions(labels=tmp_path / "labels.csv", seed=5)
    images = label_images([color_store], options, get_head("logistic"), Reporter(messages.append))
    assert len(images) == len(paths) - 4
    assert images.rows.stored.tolist() == list(range(4, len(paths)))
    assert [message.split(" of ")[0] for message in messages] == ["4 images", "warning: 1 paths"]
