"""SHA-256 of files, and the one error for a file that cannot be read."""

import errno
import hashlib
import os

import pytest

import store.files.disk
from store.errors import EnvironmentFailure
from store.files.base import NotARegularFile
from store.files.digest import require_sha256, sha256_of


def test_the_sha256_of_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"bytes" * 10**6)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"bytes" * 10**6).hexdigest()
    assert require_sha256(tmp_path / "file") == sha256_of(tmp_path / "file")


def test_a_file_that_cannot_be_read_is_the_environments_fault(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(store.files.disk.os, "open", fail)
    with pytest.raises(
        EnvironmentFailure, match=r"cannot read .*model\.onnx: Input/output error; .* run the same command"
    ):
        require_sha256(tmp_path / "model.onnx")


def test_what_is_no_file_is_said_once(tmp_path):
    with pytest.raises(NotARegularFile, match=r"^cannot read .*: expected a file, this is a folder"):
        require_sha256(tmp_path)
