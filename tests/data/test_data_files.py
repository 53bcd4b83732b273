"""The cache: whole files or none, and a full disk told in one line."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bpfree.data import load
from bpfree.data.files import write_whole
from bpfree.errors import StorageError

PINNED = {"mnist": "28b35a39", "fashion-mnist": "e4c8040b", "cifar10": "24c727bd", "cifar100": "622cced9"}


@pytest.mark.parametrize("name", PINNED)
def test_the_digests_of_the_real_sets_are_pinned(real_data, name):
    """If this fails, records of other versions are of another split: say so in the change log under Rules."""
    assert load(name, data_dir=real_data).split_digest.startswith(PINNED[name])


def test_write_whole_replaces_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "new" / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"cannot write .*file: the disk is full; free some space"):
        write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(StorageError, match=r"cannot write"):
        write_whole(tmp_path / "cache" / "mnist" / "file", b"x")
