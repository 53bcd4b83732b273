"""Writing so that nothing is lost: whole files or none, whole lines or none, and a one-line error with its cure."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

from bpfree.errors import RunDirectoryError, StorageError

__all__ = [
    "NO_LOCKS",
    "NoLockWarning",
    "append_line",
    "drop_half_line",
    "locked",
    "reading",
    "refusal",
    "remove_parts",
    "replacing",
    "unopened",
    "write_atomic",
    "writing",
]

PART = ".bpfree-part-"
"""How the name of a file begins that is being written and not yet in its place."""

ELSEWHERE = "choose another place with --out DIR"
"""How a user of the command line writes to another place."""

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


_ONLY_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EEXIST)


class NoLockWarning(UserWarning):
    """Two commands in one directory at once would not be noticed."""


_ESCAPE = "backslashreplace"
"""Names of files that are no UTF-8 are written with escapes."""

_CURES = {
    errno.ENOSPC: "the disk is full; free some space and give the same command again (it resumes), or {elsewhere}",
    errno.EDQUOT: "the disk quota is used up; free some space and give the same command again, or {elsewhere}",
    errno.EROFS: "the file system is read-only; {elsewhere}",
    errno.EACCES: "permission denied; {elsewhere}",
    errno.EPERM: "not permitted; {elsewhere}",
    errno.ENOTDIR: "a part of the path is a file, not a directory; {elsewhere}",
    errno.EEXIST: "a file of this name is in the way; {elsewhere}",
    errno.EISDIR: "a directory of this name is in the way; {elsewhere}",
    errno.ENOENT: "there is no such place and it cannot be made; {elsewhere}",
    errno.ENAMETOOLONG: "the name is too long; {elsewhere}",
    errno.EFBIG: "the file would be larger than is allowed; {elsewhere}",
}


def refusal(error: OSError, path: Path | None = None, elsewhere: str = ELSEWHERE) -> StorageError | None:
    """The operating system's refusal to write as one line with its cure; None if the error is of another kind.

    Args:
        path: what was to be written; by default the file that the error names.
        elsewhere: how the user chooses another place.
    """
    place = path or error.filename
    cure = _CURES.get(error.errno or 0)
    return StorageError(f"cannot write {place or 'to the disk'}: {cure.format(elsewhere=elsewhere)}") if cure else None


def unopened(error: OSError) -> StorageError | None:
    """A refusal of the operating system of which it is not known whether it was to read or to write; None for other errors.

    A disk that is full or read-only refuses to write; of the rest, a file that the error names decides nothing.
    """
    if error.errno in _ONLY_WRITING:
        return refusal(error)
    if error.errno == errno.ENAMETOOLONG:
        return StorageError(f"cannot open {_shortened(error.filename)}: the name is too long; give a shorter one")
    if error.errno not in _CURES and error.errno != errno.EIO:
        return None
    return StorageError(
        f"cannot open {error.filename or 'a file'}: {_why(error)}; see that it is there and may be read, or written"
    )


def _shortened(name: object, length: int = 100) -> str:
    """A name that fits into a line."""
    text = str(name or "a file")
    return text if len(text) <= length else f"{text[:length]}..."


@contextlib.contextmanager
def writing(path: Path, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into a :class:`StorageError` that says the cure."""
    try:
        yield
    except OSError as error:
        refused = refusal(error, path, elsewhere)
        if refused is None:
            raise
        raise refused from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to read ``path`` into a :class:`StorageError` that says so."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot read {path}: {_why(error)}; see that the file is there and may be read") from error


def _why(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


@contextlib.contextmanager
def replacing(path: Path, *, part: Path | None = None, sync: bool = True, elsewhere: str = ELSEWHERE) -> Iterator[Path]:
    """Yield a file in the same folder to be written; it replaces ``path`` at the end, or is removed on an error.

    Args:
        part: the file to give; by default one of a new name, so that several processes may write the same ``path``. With a fixed
            name the part that a killed process leaves is overwritten by the next.
        sync: wait until the disk has the content before the old file is replaced; without it a power cut may leave a damaged
            file, a crash of the process may not.
        elsewhere: how the user chooses another place, for the message.

    Raises:
        StorageError: the disk is full, read-only or not permitted; an older file stays whole.
    """
    with writing(path, elsewhere):
        part = part or _new_part(path)
        part.unlink(missing_ok=True)  # what a killed process left may have other permissions
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less the umask, as any program's files
        mode = os.fstat(descriptor).st_mode & 0o777
        os.close(descriptor)
        try:
            yield part
            if sync:
                with part.open("rb") as file:
                    os.fsync(file.fileno())
            if part.stat().st_mode & 0o777 != mode:  # a library has made the file again
                part.chmod(mode)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _new_part(path: Path) -> Path:
    """A name beside ``path`` that is not in use; short, since a name may be as long as the file system allows."""
    return path.with_name(
        f"{PART}{hashlib.sha256(path.name.encode(errors='surrogateescape')).hexdigest()[:8]}-{uuid.uuid4().hex}"
    )


def remove_parts(folder: Path) -> None:
    """Delete the parts of files that a killed process has left; no other process may be writing in the folder."""
    for part in folder.glob(f"{PART}*"):
        part.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes, *, elsewhere: str = ELSEWHERE) -> None:
    """Write a whole file or leave the old one: to another file in the same folder, synced, then renamed.

    Raises:
        StorageError: the disk is full, read-only or not permitted.
    """
    with replacing(path, elsewhere=elsewhere) as part:
        part.write_bytes(content.encode("utf-8", _ESCAPE) if isinstance(content, str) else content)


def append_line(path: Path, line: str) -> None:
    """Append one line (or several, with line breaks between) so that a crash leaves whole lines or none that a reader would take.

    All goes out in one ``write`` to a file opened for appending, followed by ``fsync``; a short write (a full disk) is cut
    off again. A half-written last line of an earlier crash is removed first. Several processes may append to one file: each waits
    until the other's lines are whole.

    Raises:
        StorageError: the disk is full, read-only or not permitted. The lines written before stay whole.
    """
    data = (line + "\n").encode("utf-8", _ESCAPE)
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            _wait_for_others(descriptor)
            _drop_half_line(descriptor)
            before = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):  # the first refusal is the one to report
                    os.ftruncate(descriptor, before)
                raise
            if written != len(data):
                os.ftruncate(descriptor, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def _wait_for_others(descriptor: int) -> None:
    """A line that another process is writing would seem half a line. Where there are no locks, one process writes."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def drop_half_line(path: Path) -> None:
    """Cut off a last line without its newline, which a crash has left; a file that does not exist is left so.

    Raises:
        StorageError: it may not be read, or not be cut.
    """
    if not path.exists():
        return
    with reading(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            _wait_for_others(descriptor)
            end, size = _end_of_whole_lines(descriptor)
        finally:
            os.close(descriptor)
    if end != size:
        with writing(path):
            os.truncate(path, end)


def _drop_half_line(descriptor: int) -> None:
    end, size = _end_of_whole_lines(descriptor)
    if end != size:
        os.ftruncate(descriptor, end)


def _end_of_whole_lines(descriptor: int) -> tuple[int, int]:
    """Bytes up to the last newline, and of the whole file."""
    size = os.fstat(descriptor).st_size
    end, block = size, 1 << 16
    while end > 0:
        start = max(0, end - block)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1, size
        end = start
    return 0, size


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the system frees it when the process ends, however it ends.

    On a file system without locks (some network mounts) a :class:`NoLockWarning` says so, and the block runs.

    Raises:
        RunDirectoryError: another process holds it.
        StorageError: the place cannot be written.
    """
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunDirectoryError(
                f"{path.parent} is being written by another bpfree; wait for it, or choose another --out DIR"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            warnings.warn(
                f"the file system of {path.parent} has no locks ({_why(error)}); see that no other bpfree writes there meanwhile",
                NoLockWarning,
                stacklevel=3,
            )
        yield
    finally:
        os.close(descriptor)
