"""A store with the precision int8: its quantized network is published first, kept, checked and never made up for."""

import hashlib
from dataclasses import replace

import pytest

import cli
from store.errors import DamagedStore, UsageError
from store.files.local import LocalFiles
from store.files.remote import RemoteFiles
from store.information import describe_store
from store.maintenance import collect_garbage, repair, verify
from store.quantization import Agreement, Quantization, local_network, network_file
from store.reader import open_store
from store.records import StoreInfo
from store.text import format_store
from store.writer import StoreWriter
from tests.store.build import SmallStore, flip_bit, make_images, make_info

NETWORK = b"a quantized network"
DIGEST = hashlib.sha256(NETWORK).hexdigest()
AGREEMENT = Agreement("features", 75, 0.99125, 0.8)


def quantized_info(network=DIGEST):
    info = make_info()
    recipe = replace(info.recipe, precision="int8", quantization=Quantization(network, "d" * 64, 300, 1))
    return replace(info, recipe=recipe, agreements=(AGREEMENT,))


class QuantizedStore(SmallStore):
    def __init__(self, root):
        self.folder, self.info = LocalFiles(root), quantized_info()
        self.writer = StoreWriter(self.folder)
        self.writer.create(self.info, NETWORK)


@pytest.fixture
def store(tmp_path):
    made = QuantizedStore(tmp_path / "store")
    made.update(make_images("a.png", "b.png", "c.png"))
    return made


def test_what_store_json_says_survives_its_bytes():
    assert StoreInfo.from_bytes(quantized_info().to_bytes()) == quantized_info()
    assert b"agreements" not in make_info().to_bytes()


@pytest.mark.parametrize("changed", [{"median": 1.5}, {"images": 0}, {"lowest": None}])
def test_an_agreement_that_cannot_be_is_damage(changed):
    info = replace(quantized_info(), agreements=(replace(AGREEMENT, **changed),))
    with pytest.raises(DamagedStore, match=rf"agreements\[0\]\.{next(iter(changed))}"):
        StoreInfo.from_bytes(info.to_bytes())


def test_the_network_is_published_before_store_json(tmp_path):
    published = []

    class Recorded(LocalFiles):
        def create(self, name, data):
            published.append(name)
            return super().create(name, data)

    StoreWriter(Recorded(tmp_path / "store")).create(quantized_info(), NETWORK)
    assert published == [network_file(DIGEST), "store.json", "store.copy.json"]


def test_what_a_run_leaves_that_is_killed_between_them_is_no_obstacle(tmp_path):
    files = LocalFiles(tmp_path / "store")
    files.create(network_file("a" * 64), b"another network")
    files.require_free()
    files.create("network/mine.txt", b"")
    with pytest.raises(UsageError, match=r"network/mine\.txt"):
        files.require_free()


def test_gc_keeps_the_network_and_deletes_that_of_a_run_that_came_second(store):
    late = b"the network of a run that came second"
    loser = hashlib.sha256(late).hexdigest()
    assert StoreWriter(store.folder).create(quantized_info(loser), late) == store.info
    assert collect_garbage(store.folder, min_age=-1).names == (network_file(loser),)
    assert local_network(store.folder, DIGEST).read_bytes() == NETWORK


@pytest.mark.parametrize("harm", ["lost", "flipped"])
def test_damage_of_the_network_is_found_and_cannot_be_repaired(store, harm, capsys, monkeypatch):
    path = store.folder.path(network_file(DIGEST))
    path.unlink() if harm == "lost" else flip_bit(path, 3)
    (damage,) = verify(store.folder).damage
    assert "network/" in damage.message and "copy of the store" in damage.message
    assert repair(store.folder).lost == (damage,)
    monkeypatch.setattr("sys.argv", ["store", "repair", str(store.folder)])
    assert cli.run_app(cli.store_app, "store") == 4
    assert "put it back" in capsys.readouterr().err
    assert len(open_store(store.folder.root)) == 3


def test_a_copy_in_the_cache_folder_does_not_hide_that_the_network_is_lost(bucket):
    files = RemoteFiles(f"{bucket}/store")
    StoreWriter(files).create(quantized_info(), NETWORK)
    assert local_network(files, DIGEST).read_bytes() == NETWORK
    files.remove(network_file(DIGEST))
    (damage,) = verify(files).damage
    assert f"network/{DIGEST}.zip is missing" in damage.message
    assert repair(files).lost == (damage,)


def test_a_sound_store_is_sound(store):
    assert verify(store.folder).sound
    assert repair(store.folder) == repair(store.folder)
    assert not repair(store.folder).lost


def test_store_info_says_what_int8_costs(store):
    description = describe_store(open_store(store.folder.root))
    shown = dict(format_store(description))
    assert "calibrated on 300 images" in shown["int8"]
    assert shown["int8 features"].startswith("cosine to float32 0.9912 (median), 0.8000 (lowest) on 75 images")
    assert description.to_dict()["agreements"] == [
        {"output": "features", "images": 75, "median": 0.99125, "lowest": 0.8}
    ]
