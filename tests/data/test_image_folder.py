"""Folders of images: decoded once, into the same data set as their arrays give."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from packed import picture, write_folder

from bpfree.data import from_arrays, load, load_any
from bpfree.data import unpack as unpack_module
from bpfree.data.reading import Files, Reading, SkippedWarning
from bpfree.data.streamed import Streamed
from bpfree.errors import DataError, StorageError, UsageError

Image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")

COUNTS = {"train/cat": 10, "train/dog": 10, "val/cat": 3, "val/dog": 2}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "animals", COUNTS)


def arrays_of(folder, part):
    """By Pillow alone."""
    x, y = [], []
    for path in sorted((folder / part).glob("*/*.png")):
        x.append(np.moveaxis(np.asarray(Image.open(path)), 2, 0))
        y.append(path.parent.name)
    return np.stack(x), np.array(y)


def test_a_folder_is_the_arrays_of_its_pictures(folder):
    x, y = arrays_of(folder, "train")
    x_test, y_test = arrays_of(folder, "val")
    expected = from_arrays(x, y, x_test=x_test, y_test=y_test, split_seed=2)
    data = load(folder, split_seed=2)
    assert data.data_digest == expected.data_digest
    assert (data.name, data.classes, data.in_shape) == ("animals.images", ("cat", "dog"), (3, 8, 8))
    assert (data.n("train"), data.n("validation"), data.n("test")) == (16, 4, 5)
    files = load(folder, split_seed=2, data_in="files")
    assert isinstance(files, Streamed)
    for one, other in zip(data.batches("train", 5), files.batches("train", 5), strict=True):
        assert torch.equal(one.x, other.x)


def test_val_validates_where_there_is_a_test_set(folder):
    (folder / "val").rename(folder / "test")
    write_folder(folder, {"val/cat": 2, "val/dog": 2})
    data = load(folder)
    assert (data.n("train"), data.n("validation"), data.n("test")) == (20, 4, 5)


def test_classes_alone_are_divided(tmp_path):
    data = load(write_folder(tmp_path / "flat", {"a": 20, "b": 20}))
    assert [data.n(split) for split in data.splits] == [28, 6, 6]


def test_grey_pictures_have_one_channel(tmp_path):
    assert load(write_folder(tmp_path / "grey", {"a": 5, "b": 5}, mode="L")).in_shape == (1, 8, 8)


def test_resized_and_cropped(tmp_path):
    """The shorter side becomes the size, the middle is kept."""
    root = write_folder(tmp_path / "wide", {"a": 5, "b": 5}, height=20, width=30)
    data = load_any(Files(root, Reading(image_size=10)))
    assert data.in_shape == (3, 10, 10)
    smaller = Image.open(root / "a" / "00.png").resize((15, 10), Image.Resampling.BILINEAR).crop((2, 0, 12, 10))
    wanted = torch.from_numpy(np.moveaxis(np.asarray(smaller), 2, 0).copy())
    kept = torch.cat([data.splits[split].x for split in data.splits])
    assert any(torch.equal(one, wanted) for one in kept)


def test_decoded_once(folder, monkeypatch):
    first = load(folder, image_size=4)
    with monkeypatch.context() as patch:
        patch.setattr("bpfree.data.pictures.decoded", lambda *_: pytest.fail("decoded again"))
        assert load(folder, image_size=4).data_digest == first.data_digest
    (folder / "train" / "cat" / "00.png").write_bytes(picture(99))  # one file changes: all is decoded anew
    assert load(folder, image_size=4).data_digest != first.data_digest


def test_worker_processes_give_the_same(folder, monkeypatch):
    alone = load(folder, image_size=5)
    monkeypatch.setattr(unpack_module, "FEW", 0)
    monkeypatch.setattr("bpfree.data.image_folder.IN_A_CHUNK", 3)
    monkeypatch.setattr("bpfree.data.unpack.VERSION", 0)  # another key
    assert load(folder, image_size=5).data_digest == alone.data_digest


def corrupt(folder):
    (folder / "train" / "dog" / "04.png").write_bytes(b"no picture")


def cut_off(folder):
    path = folder / "train" / "dog" / "04.png"
    path.write_bytes(picture(1, 40, 40)[:-600])


@pytest.mark.parametrize("damage", [corrupt, cut_off])
def test_a_corrupt_picture_is_named_and_skipped_only_if_asked(folder, damage):
    damage(folder)
    with pytest.raises(DataError, match=r"train/dog/04.png cannot be decoded \(.*\); replace it, or .* --skip-corrupt") as caught:
        load(folder, image_size=8)
    assert "\n" not in str(caught.value)
    with pytest.warns(SkippedWarning, match=r"skipped as corrupt: 1 \(.*04.png cannot be decoded"):
        data = load(folder, image_size=8, skip_corrupt=True)
    assert (len(data.skipped), data.n("train") + data.n("validation"), data.n("test")) == (1, 19, 5)
    (folder / "train" / "dog" / "04.png").unlink()
    assert load(folder, image_size=8).data_digest == data.data_digest


def other_size(folder):
    (folder / "train" / "dog" / "09.png").write_bytes(picture(1, 9, 12))


def no_class_folders(folder):
    for path in list((folder / "val").glob("*/*")):
        path.unlink()
    for path in list((folder / "val").iterdir()):
        path.rmdir()


def empty_class(folder):
    (folder / "train" / "eel").mkdir()
    (folder / "train" / "eel" / "notes.txt").write_text("none yet")


def unknown_class(folder):
    (folder / "val" / "dog").rename(folder / "val" / "eel")


def no_train(folder):
    (folder / "train").rename(folder / "training")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (empty_class, r"the class folder .*train/eel has no .jpg, .jpeg or .png file; put images into it, or remove it"),
        (other_size, r"dog/09.png has 12 x 9 pixels, and the first example has 8 x 8; give all one size with --image-size 8"),
        (no_class_folders, r"the folder .*val has no folders of classes; sort the images"),
        (unknown_class, r"y_test has label 'eel', but training has the labels 'cat', 'dog'"),
        (no_train, r"animals has val but no train; name the training folder train"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_what_no_option_skips(folder, change, match, skip):
    change(folder)
    with pytest.raises(DataError, match=match) as caught:
        load(folder, skip_corrupt=skip)
    assert "\n" not in str(caught.value)


def test_nothing_that_can_be_read(folder):
    for path in folder.glob("train/*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no example can be read, the first since .*00.png cannot be decoded"):
        load(folder, skip_corrupt=True)


def test_too_little_space(folder, monkeypatch):
    class Full:
        free = 20 * 3 * 64 - 1

    monkeypatch.setattr(unpack_module.shutil, "disk_usage", lambda _: Full)
    with pytest.raises(StorageError, match=r"decoded, 20 examples take 3.75 KiB, and 3.75 KiB are free in .*unpacked; choose"):
        load(folder)


def test_options_for_what_they_do_not_fit(folder, tmp_path):
    with pytest.raises(UsageError, match="image_size must be a whole number from 1 to 4096 pixels, got 0"):
        load(folder, image_size=0)
    with pytest.raises(UsageError, match=r"channels first was asked, but .*animals holds images in files"):
        load(folder, channels="first")
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 2)), y=np.arange(6) % 2)
    with pytest.raises(UsageError, match=r"--image-size 8 was asked, but .*a.npz is no image in a file"):
        load(tmp_path / "a.npz", image_size=8)
    with pytest.raises(UsageError, match="--skip-corrupt was asked, but digits is no folder of images and no shards"):
        load("digits", skip_corrupt=True)
    with pytest.raises(UsageError, match=r"a.npz cannot stay in a file, since it is compressed"):
        load(tmp_path / "a.npz", data_in="files")
    with pytest.raises(UsageError, match=r"digits cannot stay in files: only .npy files"):
        load("digits", data_in="files")


def test_without_pillow(folder, monkeypatch):
    monkeypatch.setattr("bpfree.extras.importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"animals needs PIL, not installed here; use: pip install 'bpfree\[images\]'"):
        load(folder)


def test_jpeg_is_read_too(tmp_path):
    root = write_folder(tmp_path / "mixed", {"a": 4, "b": 4})
    content = io.BytesIO()
    Image.open(root / "a" / "00.png").save(content, "JPEG")
    (root / "a" / "09.JPG").write_bytes(content.getvalue())
    (root / "a" / "10.gif").write_bytes(b"left alone")
    assert load(root).note.startswith("mixed.images: 9 examples of shape (3, 8, 8)")
