"""Shards of webdataset: unpacked once, into the same data set as their arrays give; nothing is unpickled."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import webdataset
from packed import npy, picture, write_shard, write_shards

from bpfree.data import from_arrays, load
from bpfree.data.reading import SkippedWarning
from bpfree.data.streamed import Streamed
from bpfree.errors import DataError, UsageError

X = np.random.RandomState(0).standard_normal((30, 5)).astype(np.float32)
Y = np.arange(30) % 3


@pytest.mark.parametrize("data_in", ["memory", "files"])
def test_shards_are_their_arrays(tmp_path, data_in):
    data = load(write_shards(tmp_path, X, Y), split_seed=1, data_in=data_in)
    assert data.data_digest == from_arrays(X, Y, split_seed=1).data_digest
    assert data.name == "s-{000000..000002}.tar"
    assert isinstance(data, Streamed) == (data_in == "files")


def test_what_webdataset_writes_is_read(tmp_path):
    with webdataset.ShardWriter(f"{tmp_path}/w-%06d.tar", maxcount=12, verbose=0) as writer:
        for row, (x, y) in enumerate(zip(X, Y, strict=True)):
            writer.write({"__key__": f"{row:04}", "npy": x, "cls": int(y), "txt": "left alone"})
    assert load(f"{tmp_path}/w-{{000000..000002}}.tar").data_digest == from_arrays(X, Y).data_digest


def test_a_second_pattern_is_the_test_set(tmp_path):
    first = write_shards(tmp_path, X, Y)
    (tmp_path / "test").mkdir()
    second = write_shards(tmp_path / "test", X[:6], Y[:6], 2)
    assert load(f"{first},{second}").data_digest == from_arrays(X, Y, x_test=X[:6], y_test=Y[:6]).data_digest


def test_labels_in_words_and_in_json(tmp_path):
    words = np.array(["b", "a", "c"])[Y]
    labels = [json.dumps(w if k % 2 else {"label": w, "more": [1]}).encode() for k, w in enumerate(words)]
    members = {}
    for row, (x, label) in enumerate(zip(X, labels, strict=True)):
        members |= {f"d/{row:04}.npy": npy(x), f"d/{row:04}.json": label}
    data = load(str(write_shard(tmp_path / "one.tar", members)))
    assert data.data_digest == from_arrays(X, words).data_digest
    assert data.classes == ("a", "b", "c")


def test_pictures_in_shards(tmp_path):
    pytest.importorskip("PIL", reason="the extra images is not installed")
    members = {}
    for row in range(12):
        members |= {f"{row:04}.png": picture(row, 8, 9), f"{row:04}.cls": str(row % 2).encode()}
    path = str(write_shard(tmp_path / "p.tar", members))
    assert load(path).in_shape == (3, 8, 9)
    assert load(path, image_size=6).in_shape == (3, 6, 6)
    members["0003.png"] = b"no picture"
    with pytest.raises(DataError, match=r"0003 in the shard .*q.tar cannot be decoded \(it is no JPEG or PNG file\)"):
        load(str(write_shard(tmp_path / "q.tar", members)))
    with pytest.warns(SkippedWarning, match="skipped as corrupt: 1"):
        assert len(load(f"{tmp_path}/q.tar", skip_corrupt=True).skipped) == 1


def test_channels_of_arrays_are_asked_for(tmp_path):
    x = np.random.RandomState(0).randint(0, 256, (12, 6, 6, 3)).astype(np.uint8)
    spec = write_shards(tmp_path, x, Y[:12])
    assert load(spec, channels="last").data_digest == from_arrays(x, Y[:12], channels="last").data_digest


def damaged(folder):
    """The second of three shards, cut off within its fifth example."""
    spec = write_shards(folder, X, Y)
    path = folder / "s-000001.tar"
    members = [512 + 512, 512 + 512] * 4
    path.write_bytes(path.read_bytes()[: sum(members) + 512 + 100])
    return spec


def test_a_damaged_shard_is_named_and_skipped_only_if_asked(tmp_path):
    spec = damaged(tmp_path)
    with pytest.raises(DataError, match=r"the shard .*s-000001.tar is damaged after \d examples \(.*\); copy it again") as caught:
        load(spec)
    assert "\n" not in str(caught.value)
    with pytest.warns(SkippedWarning, match=r"skipped as corrupt: 1 \(the shard .*s-000001.tar is damaged after 3 examples"):
        data = load(spec, skip_corrupt=True)
    kept = [*range(13), *range(20, 30)]
    assert data.data_digest == from_arrays(X[kept], Y[kept]).data_digest


@pytest.mark.parametrize(("members", "complete"), [(8, 4), (7, 3)])
def test_a_shard_cut_off_between_two_members(tmp_path, members, complete):
    """Of four whole examples with nothing after them, or of three and the example of a fourth without its label."""
    spec = write_shards(tmp_path, X, Y)
    path = tmp_path / "s-000001.tar"
    path.write_bytes(path.read_bytes()[: 1024 * members])
    with pytest.warns(SkippedWarning, match=rf"damaged after {complete} examples \(it has no end: it is cut off\)"):
        data = load(spec, skip_corrupt=True)
    kept = [*range(10 + complete), *range(20, 30)]
    assert data.data_digest == from_arrays(X[kept], Y[kept]).data_digest
    with pytest.raises(DataError, match="it has no end"):
        load(spec)


def no_archive(folder):
    (folder / "a.tar").write_bytes(b"no archive" * 100)
    return f"{folder}/a.tar"


def without_labels(folder):
    return str(write_shard(folder / "a.tar", {"1.npy": npy(X[0]), "2.npy": npy(X[1])}))


def without_examples(folder):
    return str(write_shard(folder / "a.tar", {"1.cls": b"1", "1.txt": b"words"}))


def other_shape(folder):
    return str(write_shard(folder / "a.tar", {"1.npy": npy(X[0]), "1.cls": b"1", "2.npy": npy(X[1, :3]), "2.cls": b"0"}))


def other_type(folder):
    return str(write_shard(folder / "a.tar", {"1.npy": npy(X[0]), "1.cls": b"1", "2.npy": npy(X[1].astype("f8")), "2.cls": b"0"}))


def pickled(folder):
    content = pickle.dumps(X[0])
    return str(write_shard(folder / "a.tar", {"1.npy": npy(X[0]), "1.cls": b"1", "2.npy": content, "2.cls": b"0"}))


def bad_json(folder):
    return str(write_shard(folder / "a.tar", {"1.npy": npy(X[0]), "1.json": b"{"}))


def empty(folder):
    return str(write_shard(folder / "a.tar", {}))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (no_archive, r"the shard .*a.tar is damaged after 0 examples \(.*\); copy it again"),
        (without_labels, r"1 in the shard .*a.tar has no label; write it as a member .cls, or as label in .json"),
        (without_examples, r"1 in the shard .*a.tar has no example \(.jpg, .jpeg, .png or .npy\), only: cls, txt"),
        (other_shape, r"2 in the shard .*a.tar has shape \(3,\), and the first example has \(5,\); store all in one shape"),
        (other_type, r"2 in the shard .*a.tar is of type <f8, and the first example of <f4; store all in one"),
        (pickled, r"2 in the shard .*a.tar cannot be decoded \(it holds Python objects, which are never unpickled\)"),
        (bad_json, r"1 in the shard .*a.tar has a .json that cannot be read"),
        (empty, r"the shard .*a.tar is empty"),
        (lambda folder: f"{folder}/b-{{0..3}}.tar", r"there is no shard .*b-0.tar, one of 4 that .*b-\{0..3\}.tar names"),
        (lambda folder: f"{folder}/b-{{0..3.tar", r"is no pattern of shards|there is no shard"),
    ],
)
def test_refused_in_one_line(tmp_path, make, match):
    with pytest.raises(DataError, match=match) as caught:
        load(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_options_for_what_they_do_not_fit(tmp_path, monkeypatch):
    spec = write_shards(tmp_path, X, Y)
    with pytest.raises(UsageError, match="--image-size 8 was asked, but the first example of the shards is no image"):
        load(spec, image_size=8)
    monkeypatch.setattr("bpfree.extras.importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs webdataset and braceexpand, .*; use: pip install 'bpfree\[stream\]'"):
        load(spec)
