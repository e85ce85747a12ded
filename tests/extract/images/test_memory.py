"""The memory budget: what is decoded at once fits into it, in order of arrival, and one image alone always may."""

import threading
import time
from io import BytesIO

from PIL import Image

from extract.images import loader as loader_module
from extract.images.decode import DecodePolicy
from extract.images.loader import ImageLoader
from extract.images.memory import BYTES_PER_DECODER, MemoryBudget, decoding_bytes
from extract.monitor import Clock
from store.files.opening import open_files
from tests.stub import make_images


def run_all(tasks):
    threads = [threading.Thread(target=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_what_is_reserved_at_once_stays_within_the_budget():
    budget, lock, used, most = MemoryBudget(100), threading.Lock(), [], []

    def use(needed):
        with budget.reserve(needed):
            with lock:
                used.append(needed)
                most.append(sum(used))
            time.sleep(0.005)
            with lock:
                used.remove(needed)

    run_all([lambda needed=needed: use(needed) for needed in (60, 30, 50, 40, 10, 70, 20, 90)])
    assert len(most) == 8
    assert max(most) <= 100


def test_an_image_larger_than_the_budget_is_decoded_alone():
    budget = MemoryBudget(100)
    with budget.reserve(1000):
        waiting = threading.Thread(target=lambda: budget.reserve(1).__enter__(), daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_small_images_do_not_overtake_a_large_one():
    budget, order = MemoryBudget(100), []

    def use(name, needed):
        with budget.reserve(needed):
            order.append(name)

    first = budget.reserve(60)
    first.__enter__()
    large = threading.Thread(target=use, args=("large", 90), daemon=True)
    large.start()
    while not budget._queue:
        time.sleep(0.001)
    small = threading.Thread(target=use, args=("small", 10), daemon=True)
    small.start()
    small.join(0.05)
    assert order == []
    first.__exit__(None, None, None)
    run_all([])
    large.join(10)
    small.join(10)
    assert order == ["large", "small"]


def test_an_error_frees_what_was_reserved():
    budget = MemoryBudget(100)
    for _ in range(3):
        try:
            with budget.reserve(80):
                raise KeyError
        except KeyError:
            continue


def test_a_photograph_of_24_megapixels_fits_the_budget_of_one_thread():
    sink = BytesIO()
    Image.new("RGB", (6000, 4000)).save(sink, "JPEG")
    with Image.open(sink) as image:
        assert 24_000_000 * 8 <= decoding_bytes(image) < BYTES_PER_DECODER


def test_a_loader_decodes_large_images_one_after_the_other(tmp_path, monkeypatch):
    names = [path.relative_to(tmp_path).as_posix() for path in make_images(tmp_path, 8)]
    monkeypatch.setattr("extract.images.decode.decoding_bytes", lambda _: 5 * BYTES_PER_DECODER)
    running, most = [], []

    def load(image):
        running.append(image)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    monkeypatch.setattr("extract.images.decode._pixels", lambda *_: None)
    policy = DecodePolicy((8, 8), "bilinear", "stretch", (255, 255, 255), 10**8)
    images = ImageLoader(open_files(str(tmp_path)), policy, None, 8)
    assert loader_module.MemoryBudget is MemoryBudget
    run_all([lambda name=name: images.load(name, Clock()) for name in names])
    assert max(most) == 1
