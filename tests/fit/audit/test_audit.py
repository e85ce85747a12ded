"""`fit audit`: what is planted among images is found, and its tables can be given to `fit head`."""

import csv
import errno
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import fit.audit.assessment
from extract import extract as run_extract
from extract.samples import write_samples
from fit import fit_head
from fit.audit.assessment import choose_labelled
from fit.audit.findings import DUPLICATE, FILES, KINDS, LABEL_ERROR, LEAK, MIRRORED, NEAR_DUPLICATE, UNIFORM
from fit.audit.options import AuditOptions
from fit.audit.request import load_audited
from fit.audit.run import audit_store
from fit.audit.text import format_findings, next_steps, where
from fit.audit.write import fit_again, require_audit_place, write_audit
from fit.commands import app
from fit.lookup.options import SearchOptions
from fit.lookup.search import search_store
from store import open_store
from store.command_line import run_app
from store.errors import EnvironmentFailure, StoppedEarly, UsageError
from store.tables import columns
from tests.end_to_end.test_fit import command, without_progress
from tests.fit.conftest import CLASSES
from tests.store.build import SmallStore, make_images

HOSTILE = '<script>alert("1")</script>&\u202e\n.png'


def read_table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def picture(path, size=(96, 80)):
    """A picture of some fields, another for each path, in the color of its class."""
    rng = np.random.default_rng(list(str(path.relative_to(path.parents[1])).encode()))
    fields = rng.integers(0, 256, (6, 6, 3)) * 0.5 + 0.5 * np.array(CLASSES.get(path.parent.name, (0, 0, 0)))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(fields.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def planted(tmp_path):
    """Pictures in two splits, among them copies, a mirrored one, a wrong label and a hostile name: 55 files."""
    data = tmp_path / "data"
    for name in CLASSES:
        for number in range(16):
            picture(data / ("train" if number < 12 else "test") / name / f"{number:03d}.png")
    shutil.copy(data / "train/red/000.png", data / "test/red/copy.png")
    shutil.copy(data / "train/blue/000.png", data / "train/blue/copy.png")
    Image.open(data / "train/green/000.png").resize((48, 40)).save(data / "test/green/smaller.jpg", quality=90)
    ImageOps.mirror(Image.open(picture(data / "train/blue" / HOSTILE))).save(data / "test/blue/mirrored.png")
    Image.new("RGB", (48, 48), CLASSES["red"]).save(data / "train/red/uniform.png")
    picture(data / "train/red/wrong.png").rename(data / "train/blue/wrong.png")
    return data


@pytest.fixture
def planted_store(stub, planted, tmp_path):
    run_extract(planted, out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(32, 32))
    return open_store(tmp_path / "store")


def described(audit, kind):
    paths = audit.images.paths
    return {
        (paths[finding.row], None if finding.other is None else paths[finding.other])
        for finding in audit.findings
        if finding.kind == kind
    }


OPTIONS = AuditOptions(reduce="flatten", folds=3)


def test_what_is_planted_is_found(planted_store):
    audit = audit_store(planted_store, OPTIONS)
    assert described(audit, DUPLICATE) == {
        ("train/red/000.png", "test/red/copy.png"),
        ("train/blue/copy.png", "train/blue/000.png"),
    }
    assert described(audit, NEAR_DUPLICATE) == {("train/green/000.png", "test/green/smaller.jpg")}
    assert described(audit, MIRRORED) == {(f"train/blue/{HOSTILE}", "test/blue/mirrored.png")}
    leaks = {"train/red/000.png", "train/green/000.png", f"train/blue/{HOSTILE}"}
    assert {row for row, _ in described(audit, LEAK)} == leaks
    assert described(audit, UNIFORM) == {("train/red/uniform.png", None)}
    assert ("train/blue/wrong.png", None) in described(audit, LABEL_ERROR)
    wrong = next(item for item in audit.findings if item.kind == LABEL_ERROR and item.suggested == "red")
    assert audit.images.paths[wrong.row] == "train/blue/wrong.png"
    assert audit.leakage.split == "test"
    assert (audit.leakage.images, audit.leakage.leaked) == (15, 3)
    assert audit.leakage.without.value is not None
    assert audit.root is not None


def test_where_the_images_are_gone_features_and_sizes_are_what_is_left(planted_store, planted):
    planted.rename(planted.with_name("elsewhere"))
    audit = audit_store(planted_store, OPTIONS)
    assert len(described(audit, DUPLICATE)) == 2
    assert described(audit, MIRRORED) == described(audit, UNIFORM) == set()
    assert any("say where they are with --images DIR" in note for note in audit.notes)
    moved = AuditOptions(reduce="flatten", folds=0, images=planted.with_name("elsewhere"))
    assert len(described(audit_store(planted_store, moved), MIRRORED)) == 1


def test_no_more_pixels_are_read_than_asked_for_those_like_another_first(planted_store):
    audit = audit_store(planted_store, AuditOptions(reduce="flatten", folds=0, pixels=40))
    assert any(note.startswith("the pixels of 40 of 53 different images were read") for note in audit.notes)
    none = audit_store(planted_store, AuditOptions(reduce="flatten", folds=0, pixels=0))
    assert none.root is None
    assert none.notes == []


def test_the_folder_has_tables_that_a_fit_takes(planted_store, tmp_path):
    audit = audit_store(planted_store, OPTIONS)
    folder = tmp_path / "audit"
    write_audit(audit, folder)
    everything = read_table(folder / "findings.csv")
    assert [row["kind"] for row in everything] == sorted((row["kind"] for row in everything), key=list(KINDS).index)
    parts = [row for name in FILES for row in read_table(folder / name)]
    assert sorted(map(str, parts)) == sorted(map(str, everything))
    assert json.loads((folder / "audit.json").read_text())["kinds"][DUPLICATE] == 2
    without = fit_head(planted_store, exclude_from=folder / "duplicates.csv")
    excluded = {row["path"] for row in read_table(folder / "duplicates.csv")}
    assert sum(without.metrics["rows"].values()) == 55 - len(excluded)
    assert not excluded & set(without.predictions["path"].to_pylist())
    labels = {row["path"]: row["label"] for row in read_table(folder / "labels.csv")}
    assert labels["train/blue/wrong.png"] == "red"
    relabelled = fit_head(planted_store, labels=folder / "labels.csv")
    # train/red/000.png is identical to an image of the test
    assert sum(relabelled.metrics["rows"].values()) == 55 - 1


def test_what_was_left_out_before_stays_left_out(planted_store, tmp_path):
    before = ["train/blue/000.png", "train/green/001.png"]
    (tmp_path / "before.csv").write_text("path\n" + "\n".join(before) + "\n")
    audit = audit_store(planted_store, replace(OPTIONS, exclude_from=tmp_path / "before.csv"))
    write_audit(audit, tmp_path / "audit")
    assert not {row["path"] for row in read_table(tmp_path / "audit" / "findings.csv")} & set(before)
    for name in FILES:
        rows = read_table(tmp_path / "audit" / name)
        assert [row["path"] for row in rows if row["kind"] == "excluded"] == before
        head = fit_head(planted_store, exclude_from=tmp_path / "audit" / name)
        assert not {row["path"] for row in rows} & set(head.predictions["path"].to_pylist())


def test_names_on_the_page_are_text(planted_store, tmp_path):
    write_audit(audit_store(planted_store, OPTIONS), tmp_path / "audit")
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&amp;\\u202e\\n.png" in page
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src &#39;none&#39;" in page
    assert page.count("data:image/") > 10
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page


def test_an_audit_that_cannot_be_replaced_stays(planted_store, tmp_path, monkeypatch):
    audit, folder = audit_store(planted_store, OPTIONS), tmp_path / "audits" / "audit"
    write_audit(audit, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def failing(path, target):
        if path.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(EnvironmentFailure, match=r"cannot write .*Input/output error; fix that"):
        write_audit(audit, folder, force=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_an_audit_is_replaced_only_with_force_and_nothing_else_is(planted_store, tmp_path):
    audit = audit_store(planted_store, AuditOptions(reduce="flatten", folds=0, pixels=0))
    write_audit(audit, tmp_path / "audit")
    (tmp_path / "audit" / "old").write_text("")
    with pytest.raises(UsageError, match="holds an audit already"):
        write_audit(audit, tmp_path / "audit")
    write_audit(audit, tmp_path / "audit", force=True)
    assert not (tmp_path / "audit" / "old").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit", "data", "store"]
    with pytest.raises(UsageError, match="is not an audit"):
        require_audit_place(tmp_path / "data", force=True)
    assert not (tmp_path / "audit" / "labels.csv").exists()  # no labels were assessed


def test_the_terminal_shows_each_kind_in_80_columns_and_commands(planted_store):
    audit = audit_store(planted_store, OPTIONS)
    lines = columns(format_findings(audit), 80)
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("duplicate") and " 2 " in line for line in lines)
    steps = next_steps(audit, "a store", Path("audit"))
    assert steps[0] == (
        "fit head --features 'a store' --reduce flatten --exclude-from audit/duplicates.csv --out heads/without_duplicates"
    )


def test_a_head_is_fitted_on_what_was_audited(planted_store, tmp_path):
    table = tmp_path / "labels.csv"
    paths = [path for path in planted_store.images()["path"].to_pylist() if '"' not in path]
    rows = [f"{path},{path.split('/')[1]},{number}\n" for number, path in enumerate(paths)]
    table.write_text("path,label,group\n" + "".join(rows))
    options = replace(OPTIONS, labels=table, output="features", group_by="group")
    audit = audit_store(planted_store, options)
    same = "fit head --features store --output features --reduce flatten --group-by group"
    steps = next_steps(audit, "store", Path("audit"))
    assert steps[0].startswith(f"{same} --labels {table} --exclude-from audit/duplicates.csv --out ")
    steps = next_steps(replace(audit, findings=[]), "store", Path("audit"))
    assert steps == [f"{same} --labels {table}"]
    doubted = fit_again(options, "store", LABEL_ERROR, Path("audit"))
    assert doubted == f"{same} --labels audit/labels.csv --out heads/without_label_errors"


def test_images_without_labels_or_with_several_are_audited_all_the_same(stub, tmp_path):
    for number in range(12):
        picture(tmp_path / "data" / f"{number}.png")
    run_extract(tmp_path / "data", out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(32, 32))
    audit = audit_store(open_store(tmp_path / "store"))
    assert (audit.assessment, audit.leakage, audit.small_classes) == (None, None, {})
    assert audit.notes == ["labels are not assessed of 12 images without one"]
    assert next_steps(audit, "store", Path("audit")) == []  # no head can be fitted
    assert where(audit, Path("audit")) == "look at audit/audit.html"
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"{number}.png,a|b\n" for number in range(12)))
    audit = audit_store(open_store(tmp_path / "store"), AuditOptions(labels=tmp_path / "labels.csv"))
    assert audit.notes[0] == "labels are not assessed of 12 images with several (a|b)"


def test_classes_too_small_are_named_and_not_assessed(planted_store, tmp_path):
    paths = planted_store.images()["path"].to_pylist()
    names = [
        "rare" if path.startswith("train/red/00") and path < "train/red/005" else path.split("/")[1] for path in paths
    ]
    rows = "".join(f'"{path}",{name}\n' for path, name in zip(paths, names, strict=True) if '"' not in path)
    (tmp_path / "labels.csv").write_text(f"path,label\n{rows}")
    audit = audit_store(planted_store, replace(OPTIONS, labels=tmp_path / "labels.csv", pixels=0))
    assert audit.small_classes == {"rare": 5}
    assert audit.assessment.task.classes == ("blue", "green", "red")
    assert len(audit.assessment.images) == 54 - 5


def test_the_command_runs_as_a_user_types_it(planted_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fit", "audit", "store", "--reduce", "flatten", "--folds", "3", "--json"])
    assert run_app(app, "fit") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["page"] == "audit/audit.html"
    assert printed["kinds"]["leak"] == 3
    assert printed["findings"][0]["kind"] == LEAK
    assert run_app(app, "fit") == 2
    assert "holds an audit already" in json.loads(capsys.readouterr().out)["reason"]
    monkeypatch.setattr(sys, "argv", ["fit", "audit", "store", "--folds", "0", "--out", "quiet", "--quiet"])
    assert run_app(app, "fit") == 0
    quiet = capsys.readouterr()
    assert quiet.out.split()[:2] == ["images", "first"]
    assert quiet.err == ""
    monkeypatch.setattr(sys, "argv", ["fit", "head", "--features", "store", "--exclude-from", "audit/duplicates.csv"])
    assert run_app(app, "fit") == 0
    assert "left out, as audit/duplicates.csv says: 4 of 55 images" in capsys.readouterr().err


def test_copies_and_groups_are_in_one_fold(planted_store, tmp_path):
    paths = planted_store.images()["path"].to_pylist()
    lines = [f'"{path}",{path.split("/")[1]},{number // 5}' for number, path in enumerate(paths) if '"' not in path]
    (tmp_path / "labels.csv").write_text("path,label,group\n" + "\n".join(lines) + "\n")
    grouped = replace(OPTIONS, labels=tmp_path / "labels.csv", group_by="group", pixels=0)
    for options in (OPTIONS, grouped):
        audited = load_audited(planted_store, options)
        at = {path: row for row, path in enumerate(audited.paths)}
        copies = np.arange(len(audited))
        copies[at["train/green/001.png"]] = copies[at["train/red/002.png"]]
        of_rows = choose_labelled(audited, copies).split_groups.of_rows
        assert of_rows[at["train/green/001.png"]] == of_rows[at["train/red/002.png"]]
        together = options is grouped
        assert (of_rows[at["test/blue/012.png"]] == of_rows[at["test/blue/013.png"]]) == together


def test_of_many_features_labels_are_doubted_batch_by_batch(planted_store, monkeypatch):
    kinds = []
    build = fit.audit.assessment.build_classifier
    monkeypatch.setattr(fit.audit.assessment, "_ARRAY_BYTES", 0)
    monkeypatch.setattr(fit.audit.assessment, "_VISITS", 600)
    monkeypatch.setattr(fit.audit.assessment, "build_classifier", lambda spec: kinds.append(spec) or build(spec))
    audit = audit_store(planted_store, replace(OPTIONS, pixels=0))
    assert {(spec.name, spec.parameters["epochs"]) for spec in kinds} <= {("sgd", 600 // n) for n in range(30, 45)}
    assert len(kinds) == 3 + 1
    first = audit.assessment.images[audit.assessment.doubts.ranking[0]]
    assert audit.images.paths[first] == "train/blue/wrong.png"


def test_only_the_unaltered_views_are_audited(stub, planted, tmp_path):
    settings = {"backbone": "mobilenet", "weights": "random", "image_size": (32, 32)}
    run_extract(planted, out=tmp_path / "views", augment=2, **settings)
    store = open_store(tmp_path / "views")
    assert len(store) == 3 * 55
    audit = audit_store(store, replace(OPTIONS, folds=0))
    assert len(audit.images) == 55
    assert len(described(audit, DUPLICATE)) == 2
    assert described(audit, NEAR_DUPLICATE) == {("train/green/000.png", "test/green/smaller.jpg")}
    nearest = search_store(store, ["train/red/000.png"], SearchOptions(top=60, reduce="flatten"))[0].matches
    assert len(nearest) == 54
    assert audit.images.paths[nearest[0].row] == "test/red/copy.png"


def test_an_unfinished_store_is_refused(tmp_path):
    small = SmallStore(tmp_path / "store")
    small.update(make_images("a", "b", "c"), stop_after=1)
    with pytest.raises(StoppedEarly, match="not finished"):
        audit_store(open_store(tmp_path / "store"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"near": 0}, "--near is 0"),
        ({"folds": 1}, "--folds is 1"),
        ({"pixels": -1}, "--pixels is -1"),
        ({"reduce": "sum"}, "--reduce is 'sum'"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_options_that_cannot_be_are_refused(values, words):
    with pytest.raises(UsageError, match=words):
        AuditOptions(**values)


# As a user runs it, on real features


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    write_samples("digits", folder / "data")
    return folder


@pytest.mark.slow
def test_the_first_twentieth_by_doubt_holds_most_of_the_wrong_labels(digits):
    """It must be 80 % where 5 % of the digits' labels are changed."""
    run_extract(digits / "data", out=digits / "store", pooling="max")
    store = open_store(digits / "store")
    paths, labels = (np.array(store.images()[name].to_pylist()) for name in ("path", "label"))
    rng = np.random.default_rng(0)
    changed = rng.choice(len(paths), round(0.05 * len(paths)), replace=False)
    labels[changed] = (labels[changed].astype(int) + rng.integers(1, 10, len(changed))) % 10
    lines = "".join(f"{path},{label}\n" for path, label in zip(paths, labels, strict=True))
    (digits / "labels.csv").write_text(f"path,label\n{lines}")
    audit = audit_store(store, AuditOptions(labels=digits / "labels.csv", pixels=0))
    write_audit(audit, digits / "audit")
    first = [row["path"] for row in read_table(digits / "audit" / "labels.csv")][: len(changed)]
    wrong = set(paths[changed])
    found = [audit.images.paths[item.row] for item in audit.findings if item.kind == LABEL_ERROR]
    print(
        f"of {len(wrong)} wrong labels the first {len(first)} hold {len(wrong & set(first))}; "
        f"{len(found)} are suspected, {len(wrong & set(found))} of them wrong"
    )
    assert len(wrong & set(first)) >= 0.8 * len(wrong)
    assert len(wrong & set(found)) >= 0.8 * len(wrong)
    assert len(found) < 2 * len(wrong)


@pytest.mark.slow
def test_copies_across_splits_are_found(digits):
    """20 identical under other names, 20 as resized JPEG files, 10 mirrored: all, at least 18, and all."""
    rng = np.random.default_rng(0)
    files = sorted((digits / "data").rglob("*.png"))
    rng.shuffle(files)
    data = digits / "copied"
    split_of = {path: "test" if number % 4 == 0 else "train" for number, path in enumerate(files)}
    for path, split in split_of.items():
        (data / split / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, data / split / path.parent.name / path.name)

    def place(path, name):
        return data / ("train" if split_of[path] == "test" else "test") / path.parent.name / name

    for number, path in enumerate(files[:20]):
        shutil.copy(path, place(path, f"exact{number}.png"))
    for number, path in enumerate(files[20:40]):
        side = (8, 12, 16, 24)[number % 4]
        Image.open(path).resize((side, side)).save(place(path, f"resized{number}.jpg"), quality=80)
    for number, path in enumerate(files[40:50]):
        ImageOps.mirror(Image.open(path)).save(place(path, f"mirrored{number}.png"))
    run_extract(data, out=digits / "copied.store")
    audit = audit_store(open_store(digits / "copied.store"), AuditOptions(folds=0))
    counts = {}
    for kind, name in ((DUPLICATE, "exact"), (NEAR_DUPLICATE, "resized"), (MIRRORED, "mirrored")):
        counts[name] = len({pair for pair in described(audit, kind) if any(f"/{name}" in path for path in pair)})
    false = [pair for pair in described(audit, NEAR_DUPLICATE) if not any("/resized" in path for path in pair)]
    print(f"found: {counts}; other near pairs: {len(false)}; leaks: {len(described(audit, LEAK))}")
    assert counts["exact"] == 20
    assert counts["resized"] >= 18
    assert counts["mirrored"] == 10
    assert len(described(audit, LEAK)) >= 48
    assert len(false) <= 20


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_its_folder(digits, tmp_path):
    data = tmp_path / "data"
    for path in sorted((digits / "data").rglob("*.png"))[::12]:
        (data / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, data / path.parent.name / path.name)
    shutil.copy(data / "0/0000.png", data / "1/again.png")
    assert command("extract", "run", data, "--out", "store", "--image-size", "96", cwd=tmp_path).returncode == 0
    done = command("fit", "audit", "store", cwd=tmp_path, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("duplicate") and "again.png" in line for line in lines)
    assert max(len(line) for line in lines if not line.startswith("    ")) <= 80
    assert without_progress(done.stderr) == []
    assert {path.name for path in (tmp_path / "audit").iterdir()} == {
        "audit.html", "audit.json", "findings.csv", "labels.csv", *FILES
    }  # fmt: skip
    again = command("fit", "audit", "store", "--json", cwd=tmp_path)
    assert (again.returncode, json.loads(again.stdout)["exit_code"]) == (2, 2)
    as_json = command("fit", "audit", "store", "--json", "--force", "--folds", "0", cwd=tmp_path)
    printed = json.loads(as_json.stdout)
    assert printed["kinds"]["duplicate"] == 1
    assert printed["findings"][0]["kind"] == "duplicate"
    assert printed["labels"] is None
    step = next(line for line in lines if line.strip().startswith("fit head"))
    assert "--exclude-from audit/duplicates.csv" in step
    ran = command(*step.split(), cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "left out, as audit/duplicates.csv says: 1 of" in ran.stderr
