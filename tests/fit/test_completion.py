"""What a shell completes in `fit`."""

from fit.completion import complete_head, complete_output
from fit.heads.table import HEADS
from tests.store.build import VECTOR, SmallStore, make_images


def test_outputs_are_those_of_the_store(tmp_path):
    small = SmallStore(tmp_path / "store", (VECTOR,), "parquet")
    small.update(make_images("a.png"))
    assert list(complete_output({"features": str(tmp_path / "store")})) == [VECTOR.name]


def test_heads_are_those_of_the_table():
    assert list(complete_head({})) == list(HEADS)
