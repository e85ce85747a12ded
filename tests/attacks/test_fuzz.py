"""Damaged images of every kind: each is decoded or a failure, in little memory, and no program is started."""

import pytest

from extract.images.decode import decode, without_pillow_limits
from tests.attacks.corpus import corpus
from tests.attacks.fuzz import MEMORY, POLICY, fuzz, mutant


def require_harmless(found, inputs):
    assert (found.crashes, found.hangs, found.errors, found.messages) == ({}, [], {}, "")
    assert not found.programs
    assert found.peak < MEMORY // 2**20
    assert sum(found.outcomes.values()) == inputs
    assert found.outcomes["decoded"] > inputs / 20  # mutants are not all refused at the door
    assert found.outcomes["corrupt"] > inputs / 50


def test_all_files_of_the_corpus_are_sound():
    with without_pillow_limits():
        for name, data in corpus().items():
            assert decode(data, POLICY).pixels.shape == (8, 8, 3), name


def test_a_mutant_is_the_same_each_time():
    first, second = corpus(), corpus()
    assert first == second
    assert [mutant(first, 1, number) for number in range(50)] == [mutant(second, 1, number) for number in range(50)]


def test_a_thousand_damaged_images_do_no_harm():
    require_harmless(fuzz(0, 1000, seed=0), 1000)


@pytest.mark.slow
def test_a_hundred_thousand_damaged_images_do_no_harm():
    require_harmless(fuzz(0, 100_000, seed=1), 100_000)
