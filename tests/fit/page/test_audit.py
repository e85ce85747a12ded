"""The section on the audit: what a head's own files say of labels, copies and small classes."""

from dataclasses import replace

from fit import fit_head
from fit.head_folder import read_results
from fit.page.gather import PageOptions, gather_content
from fit.page.render import render_page
from store import open_store
from tests.store.build import Image, SmallStore


def test_labels_that_heads_contradict_are_in_doubt(color_store, tmp_path):
    wrong = {"red/003.png": "blue", "green/010.png": "<b>red</b>"}
    lines = []
    for path in color_store.images()["path"].to_pylist():
        label = wrong.get(path, path.split("/")[0])
        lines.append(f"{path},{'<b>red</b>' if label == 'red' else label}\n")
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(lines))
    head = fit_head(color_store, "centroid", labels=tmp_path / "labels.csv", cv=4, test=0.0)
    results = read_results(head.save(tmp_path / "head"))
    content = gather_content(results, PageOptions())
    doubts = {doubt.path: doubt for doubt in content.audit.doubts}
    assert set(wrong) <= set(doubts)
    assert len(doubts) <= 8
    assert (doubts["red/003.png"].label, doubts["red/003.png"].suggested) == ("blue", "<b>red</b>")
    assert content.listed.paths[doubts["red/003.png"].position] == "red/003.png"
    assert content.audit.doubted.endswith(" of 60 cross-validated images")
    page = render_page(content)
    assert "suggested</span> <bdi>&lt;b&gt;red&lt;/b&gt;</bdi>" in page
    assert "fit audit " in page


def test_labels_are_not_in_doubt_where_nothing_unseen_was_predicted(color_store, tmp_path):
    head = fit_head(color_store, "centroid", val=0.0, test=0.0)
    section = gather_content(read_results(head.save(tmp_path / "head")), PageOptions()).audit
    assert (list(section.doubts), section.doubted) == ([], "")


def test_what_is_known_of_copies_and_small_classes_is_said(tmp_path):
    paths = [f"{name}/{at:02d}.png" for name, count in (("many", 30), ("few", 9)) for at in range(count)]
    splits = {path: ("train", "validation")[at % 2] for at, path in enumerate(paths)}
    images = {path: Image(path, path.split("/")[0], splits[path]) for path in paths}
    images["many/01.png"] = replace(images["many/01.png"], content=images["many/00.png"].content)
    SmallStore(tmp_path / "store").update(images, images_per_shard=50)
    head = fit_head(open_store(tmp_path / "store"), "centroid", near_twins="ignore")
    section = gather_content(read_results(head.save(tmp_path / "head")), PageOptions()).audit
    assert section.small == [("few", 9)]
    assert any(sentence.endswith(" is on another side: 1.") for sentence in section.sentences)
    assert any("--near-twins ignore" in sentence for sentence in section.sentences)
    assert section.command.endswith(str(tmp_path / "store"))
