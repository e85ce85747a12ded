"""The write protocol: what is published in which order, and what becomes of two writers at once."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import store.writer
from store.errors import DamagedStore, EnvironmentFailure
from store.files.local import LocalFiles
from store.formats import get_format, packed_shard
from store.maintenance import verify
from store.plan import make_plan
from store.records import CommitRecord, ShardSlot, StoreInfo
from store.writer import StoreWriter
from tests.store.build import BROKEN, Image, flip_bit, make_images, make_listing, make_recipe

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("cli.py", "stillframe.py", "extract", "fit", "store")
IMAGES = make_images("a.png", "b.png", "c.png", label="cat")


def protocol(text):
    """The numbered sentences of a text, each on one line."""
    found = re.findall(r"^(\d+)\. (.*(?:\n {3,4}\S.*)*)", text, re.MULTILINE)
    return [f"{number}. {' '.join(sentence.split())}" for number, sentence in found]


def test_the_document_has_the_protocol_of_the_writer_word_for_word():
    document = (ROOT / "docs" / "store-format.md").read_text()
    said = protocol(document[document.index("This is the whole protocol") :])
    assert said == protocol(store.writer.__doc__)
    assert [int(sentence.partition(".")[0]) for sentence in said] == list(range(1, len(said) + 1))
    assert len(said) >= 12
    assert sum("MUST" in sentence or "MAY" in sentence for sentence in said) >= len(said) - 1


def test_only_the_writer_publishes_into_a_store():
    """Everything else calls `StoreWriter`, which it names `writer`."""
    found = []
    for package in PACKAGES:
        place = ROOT / package
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place] * place.exists():
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create":
                    called = ast.unparse(node.func.value)
                    if "writer" not in called.lower():
                        found.append(path.relative_to(ROOT).as_posix())
    assert set(found) == {"store/writer.py"}


class Recording(LocalFiles):
    """Files that note what is published, in order."""

    def __init__(self, root):
        super().__init__(root)
        self.published = []

    def create(self, name, data):
        self.published.append(name)
        return super().create(name, data)


def plan_of(images, number=1, images_per_shard=2):
    listing = make_listing(images)
    return make_plan(listing, pa.nulls(len(listing)), images_per_shard, number)


def test_files_are_published_in_the_order_of_the_protocol(small):
    files = Recording(small.folder.root.parent / "another")
    writer = StoreWriter(files)
    writer.create(small.info)
    plan = plan_of(IMAGES)
    assert writer.publish_plan(plan, "/data")
    record = writer.commit(ShardSlot(plan.name, 0, 1), small.content(IMAGES, ["a.png", "b.png"]), {"runtime": "none"})
    order = ["store.json", plan.file, "view/1.json", f"data/{record.shard}", f"commit/{plan.name}/000000.1.json"]
    assert [name for name in files.published if name in order] == order


def test_the_first_to_create_a_store_says_what_it_is(tmp_path, small):
    files = LocalFiles(tmp_path / "new")
    other = StoreInfo(make_recipe(resize="nearest"), small.info.outputs, "parquet")
    assert StoreWriter(files).create(small.info) == small.info
    late = StoreWriter(files)
    assert late.create(other) == small.info
    assert late.info == small.info


def test_of_two_plans_of_one_number_the_first_is_the_current_one(small):
    first, second = plan_of(IMAGES), plan_of(make_images("z.png"))
    assert small.writer.publish_plan(first, "/data")
    assert not StoreWriter(small.folder).publish_plan(second, "/data")
    assert small.snapshot.plan.name == first.name
    assert small.snapshot.current.data == "/data"


def test_of_two_records_of_one_attempt_the_first_counts(small):
    plan = small.update(IMAGES, stop_after=0)
    slot = ShardSlot(plan.name, 0, 1)
    first = small.writer.commit(slot, small.content(IMAGES, ["a.png", "b.png"]), {"runtime": "first"})
    other = {**IMAGES, "a.png": Image("other")}
    late = StoreWriter(small.folder).commit(slot, small.content(other, ["a.png", "b.png"]), {"runtime": "second"})
    assert late == first
    assert late.environment == {"runtime": "first"}
    assert verify(small.folder).sound


def test_of_two_withdrawals_one_counts(small):
    plan = small.update(IMAGES)
    slot = small.snapshot.next_slot(f"{plan.name}/0")
    assert slot == ShardSlot(plan.name, 0, 2)
    assert small.writer.withdraw(slot, "the first")
    assert not StoreWriter(small.folder).withdraw(slot, "the second")
    assert CommitRecord.from_bytes(small.folder.read(slot.file)).withdrawn == "the first"
    assert small.snapshot.uncommitted_shards() == [0]


def test_a_shard_without_rows_is_a_record_alone(small):
    images = {path: Image(BROKEN) for path in IMAGES}
    small.update(images)
    assert small.folder.names("data") == []
    assert small.writer.encode(small.content(images, ["a.png"]), small.info) == b""


def test_a_damaged_file_under_a_shards_name_is_replaced(small):
    plan = small.update(IMAGES, stop_after=0)
    name = small.leave_shard(IMAGES, ["a.png", "b.png"])
    flip_bit(small.folder.path(f"data/{name}"), 50)
    assert small.commit(plan, 0, IMAGES).shard == name
    assert verify(small.folder).sound


def test_a_damaged_file_under_a_plans_name_is_replaced(small):
    """Left by a run that ended before the file in view/ that names it: nothing needs it yet, so repair passes it over."""
    plan = plan_of(IMAGES)
    small.folder.create(plan.file, plan.data)
    flip_bit(small.folder.path(plan.file), 50)
    assert small.writer.publish_plan(plan, "/data")
    assert small.snapshot.plan.name == plan.name
    assert verify(small.folder).sound


def test_a_damaged_file_that_comes_back_is_the_environments_fault(small, monkeypatch):
    plan = small.update(IMAGES, stop_after=0)
    name = small.leave_shard(IMAGES, ["a.png", "b.png"])
    flip_bit(small.folder.path(f"data/{name}"), 50)
    monkeypatch.setattr(LocalFiles, "remove", lambda self, name: None)
    with pytest.raises(EnvironmentFailure, match="another process keeps writing"):
        small.commit(plan, 0, IMAGES)
    assert small.snapshot.uncommitted_shards() == [0, 1]


def test_a_shard_that_does_not_read_back_is_not_published(small, monkeypatch):
    plan = small.update(IMAGES, stop_after=0)
    parquet = type(store.writer.get_format("parquet"))
    plain = parquet.encode
    monkeypatch.setattr(parquet, "encode", lambda self, *arguments: plain(self, *arguments)[:-1] + b"?")
    with pytest.raises(DamagedStore):
        small.commit(plan, 0, IMAGES)
    assert small.folder.names("data") == []
    assert small.folder.names("commit") == []


def test_what_is_encoded_for_a_dry_run_is_what_is_committed(any_small):
    content = any_small.content(IMAGES, ["a.png", "b.png"])
    data = any_small.writer.encode(content, any_small.info)
    plan = any_small.update(IMAGES)
    assert any_small.shard_file(plan, 0).read_bytes() == data


def test_a_shard_is_compared_once_and_named_by_the_same_bytes_however_it_was_packed(any_small):
    images = make_images("a.png", "b.png", "c.png")
    content = any_small.content(images, list(images))
    data = any_small.writer.encode(content, any_small.info)
    shard_format = get_format(any_small.info.shard_format)
    early = packed_shard(shard_format, content.shard, "zstd")
    assert bool(early.packed) == (shard_format.name == "hdf5")
    assert any_small.writer.encode(replace(content, shard=early), any_small.info) == data
