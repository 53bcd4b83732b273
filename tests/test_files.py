"""Writing: whole files or none, whole lines or none, one clear line when the disk refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bpfree.errors import RunDirectoryError, StorageError
from bpfree.files import (
    NoLockWarning,
    append_line,
    drop_half_line,
    locked,
    reading,
    remove_parts,
    replacing,
    unopened,
    write_atomic,
    writing,
)
from bpfree.tensor_files import write_tensors


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_atomic_writes_text_and_bytes(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "grüße\n")
    write_atomic(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "grüße\n"
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_write_atomic_replaces_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, "long " * 1000)
    write_atomic(path, "short")
    assert path.read_text() == "short"


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_failed_write_atomic_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch, at: str) -> None:
    path = tmp_path / "a"
    write_atomic(path, "old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if at == "fsync" else Path, at, full)
    with pytest.raises(StorageError, match=r"cannot write .*a: the disk is full; free some space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied; choose another place with --out DIR"),
        (errno.EFBIG, "larger than is allowed"),
    ],
)
def test_refusals_of_the_system_become_one_line_with_a_cure(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as error, writing(Path("/some/where")):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(error.value)
    assert isinstance(error.value.__cause__, OSError)


def test_other_errors_pass_through() -> None:
    with pytest.raises(ConnectionError), writing(Path("x")):
        raise ConnectionError("not about a file")
    with pytest.raises(OSError, match="5"), writing(Path("x")):
        raise OSError(errno.EIO, "5: the disk is dying")


def test_real_obstacles(tmp_path: Path) -> None:
    """No mock: a file where a folder should be, a folder where the file should be, a name too long."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="is a file, not a directory"):
        write_atomic(tmp_path / "file" / "a", "x")
    with pytest.raises(StorageError, match="directory of this name is in the way"):
        append_line(tmp_path / "folder", "x")
    with pytest.raises(StorageError, match="name is too long"):
        append_line(tmp_path / ("n" * 300), "x")


def test_a_name_that_is_too_long_to_be_looked_up_is_shortened() -> None:
    with pytest.raises(OSError, match="too long") as error:
        Path("n" * 300).stat()
    assert str(unopened(error.value)) == f"cannot open {'n' * 100}...: the name is too long; give a shorter one"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write where permissions forbid it")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        for write in (write_atomic, append_line):
            with pytest.raises(StorageError, match="permission denied; choose another place with --out DIR"):
                write(tmp_path / "a", "x")
    finally:
        tmp_path.chmod(0o755)


def test_a_read_only_file_system(tmp_path: Path, monkeypatch) -> None:
    def refuse(*args: object, **options: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match="read-only; choose another place with --out DIR"):
        append_line(tmp_path / "a", "x")


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for line in ("one", "", "drei ü"):
        append_line(path, line)
    assert path.read_text(encoding="utf-8") == "one\n\ndrei ü\n"


@given(half=st.binary(max_size=200).filter(lambda raw: b"\n" not in raw), lines=st.integers(0, 3))
def test_a_half_line_is_dropped_before_the_next(tmp_path_factory, half: bytes, lines: int) -> None:
    path = tmp_path_factory.mktemp("half") / "log"
    whole = b"".join(b"line %d\n" % k for k in range(lines))
    path.write_bytes(whole + half)
    append_line(path, "next")
    assert path.read_bytes() == whole + b"next\n"


def test_a_half_line_longer_than_a_block_of_reading(tmp_path: Path) -> None:
    for length in ((1 << 16) - 1, 1 << 16, (1 << 16) + 1, 200_000):
        path = tmp_path / str(length)
        path.write_bytes(b"first\n" + b"x" * length)
        drop_half_line(path)
        assert path.read_bytes() == b"first\n"
        path.write_bytes(b"x" * length)
        drop_half_line(path)
        assert path.read_bytes() == b""


def test_whole_files_and_missing_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    drop_half_line(path)
    assert not path.exists()
    path.write_bytes(b"one\ntwo\n")
    drop_half_line(path)
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_short_write_is_cut_off_again(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "log"
    append_line(path, "one")
    honest = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: honest(descriptor, data[:3]))
    with pytest.raises(StorageError, match="disk is full"):
        append_line(path, "two is longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"one\n"


def test_a_failed_sync_is_cut_off_again(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "log"
    append_line(path, "one")

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="disk is full"):
        append_line(path, "two")
    assert path.read_bytes() == b"one\n"


def test_a_real_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the kernel writes what fits and then refuses; every whole line before stays."""
    path = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(StorageError):
            for _ in range(100):
                append_line(path, "x" * 89)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == (b"x" * 89 + b"\n") * 11
    append_line(path, "and on it goes")
    assert path.read_text().endswith("\nand on it goes\n")


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        with pytest.raises(RunDirectoryError, match="another bpfree; wait for it, or choose another --out"), locked(path):
            pass
        code = (
            f"import pathlib, sys; sys.path.insert(0, {str(Path(__file__).parents[1] / 'src')!r})\n"
            "from bpfree.errors import RunDirectoryError\nfrom bpfree.files import locked\n"
            f"try:\n    locked(pathlib.Path({str(path)!r})).__enter__()\nexcept RunDirectoryError:\n    sys.exit(7)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
    with locked(path):
        pass


def test_a_lock_ends_with_its_block_however_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyboardInterrupt), locked(path):
        raise KeyboardInterrupt
    with locked(path):
        pass


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        f"import pathlib, sys, time; sys.path.insert(0, {str(Path(__file__).parents[1] / 'src')!r})\n"
        f"from bpfree.files import locked\nwith locked(pathlib.Path({str(path)!r})):\n"
        "    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError), locked(path):
            pass
        child.kill()
        child.wait()
    with locked(path):
        pass


def test_a_lock_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError), locked(tmp_path):
        pass


def test_a_replacing_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, "old")
    with pytest.raises(ValueError, match="mine"), replacing(path) as part:
        part.write_text("half")
        raise ValueError("mine")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_of_a_fixed_name_is_overwritten(tmp_path: Path) -> None:
    path, part = tmp_path / "a", tmp_path / "a.part"
    part.write_text("left by a process that was killed")
    with replacing(path, part=part) as given:
        assert given == part
        given.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("sync", "n_syncs"), [(True, 1), (False, 0)])
def test_a_file_is_synced_before_it_replaces_another(tmp_path: Path, monkeypatch, sync: bool, n_syncs: int) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with replacing(tmp_path / "a", sync=sync) as part:
        part.write_text("new")
    assert len(synced) == n_syncs


def test_the_cure_names_the_place_that_the_caller_can_choose(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*there is no such place.*; choose another cache$"):
        write_atomic(tmp_path / "none" / "a", "x", elsewhere="choose another cache")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_every_file_obeys_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "whole", "x")
        append_line(tmp_path / "lines", "x")
        write_tensors(tmp_path / "tensors", {"a": torch.zeros(1)}, "kind", {})  # a library makes this file
        with locked(tmp_path / "lock"):
            pass
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(names(tmp_path), mode)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(NoLockWarning, match="has no locks .*; see that no other bpfree writes there"), locked(tmp_path / "lock"):
        write_atomic(tmp_path / "a", "x")


def test_a_name_as_long_as_a_file_name_may_be(tmp_path: Path) -> None:
    """The part that is written first needs a shorter one."""
    path = tmp_path / ("n" * 255)
    write_atomic(path, "x")
    assert path.read_text() == "x"


def test_parts_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    (tmp_path / ".mine").write_text("")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a kill cleans up nothing
        with replacing(tmp_path / "a"):
            raise Killed
    assert len(names(tmp_path)) == 2
    remove_parts(tmp_path)
    remove_parts(tmp_path / "none")
    assert names(tmp_path) == [".mine"]


def test_a_read_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*a: no such file or directory"), reading(tmp_path / "a"):
        (tmp_path / "a").read_bytes()
    with pytest.raises(StorageError, match=r"cannot read .*: input/output error"), reading(tmp_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "cannot write a: the disk is full"),
        (errno.EACCES, "cannot open a: permission denied; "),
        (errno.EISDIR, "cannot open a: is a directory; "),
        (errno.EIO, "cannot open a: input/output error; "),
    ],
)
def test_where_reading_or_writing_is_not_known_neither_is_said(number: int, words: str) -> None:
    assert str(unopened(OSError(number, os.strerror(number), "a"))).startswith(words)
    assert unopened(ConnectionResetError(errno.ECONNRESET, "reset")) is None
