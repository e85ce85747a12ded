"""A page of thumbnails: nothing in it runs or is loaded, whatever images and classes are named."""

import base64
import hashlib
import io
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import fit.thumbnails
from fit.gallery.page import Card, Page, Picture, Section, render
from fit.gallery.thumbnails import encode, make_thumbnails
from fit.thumbnails import SIDE
from tests.store.build import make_recipe

HOSTILE = "</style><script>alert(1)</script>\"'&\u202e\u2066\n"


def page_of(text):
    card = Card([Picture(text, text, "data:image/jpeg;base64,AAAA"), Picture(text)], [text])
    return Page(text, text, [(text, text)], [text], [Section("a_part", text, text, [card], 1200, text)])


def test_names_are_text_wherever_they_stand():
    html = render(page_of(HOSTILE))
    assert "<script" not in html
    assert html.count("</style>") == 1
    assert not re.search("[\u202e\u2066]", html)
    assert html.count("&lt;script&gt;") >= 12
    assert html.count("<img ") == 1
    assert "no thumbnail" in html
    assert "1,200" in html
    assert "The first 1 are shown." in html


def test_every_picture_has_its_file_s_name_below_it_also_without_a_thumbnail():
    html = render(page_of("folder/cat 1.png"))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html, re.DOTALL)
    assert ['<bdi class="path">folder/cat 1.png</bdi>' in caption for caption in captions] == [True, True]


def test_the_policy_admits_the_style_of_the_page_and_nothing_else():
    html = render(page_of("a"))
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1).replace("&#39;", "'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script" not in policy
    assert not re.search(r"https?:|style=|\son\w+=", html.replace("http-equiv", ""))


@pytest.mark.parametrize(("size", "shape"), [((400, 200), (128, 64)), ((8, 8), (128, 128)), ((1, 5000), (1, 128))])
def test_a_thumbnail_has_the_shape_of_its_image(size, shape):
    uri = encode(np.zeros((32, 32, 3), np.uint8), size)
    file = io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))
    assert Image.open(file).size == shape
    assert max(shape) == SIDE


def test_thumbnails_end_where_the_page_would_be_too_large(tmp_path, monkeypatch):
    names = [f"{number}.png" for number in range(5)]
    for name in names[:4]:
        Image.new("RGB", (20, 20), "red").save(tmp_path / name)
    rows = pa.table({"path": [*names, names[0]], "width": [20] * 6, "height": [20] * 6})
    whole = make_thumbnails(tmp_path, rows, make_recipe())
    assert list(whole) == names[:4]  # the last is not there
    text = whole["0.png"].partition("base64,")[2]
    monkeypatch.setattr(fit.thumbnails, "MOST_CHARACTERS", 2 * len(text))
    assert list(make_thumbnails(tmp_path, rows, make_recipe())) == names[:2]
