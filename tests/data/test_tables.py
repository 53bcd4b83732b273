"""Tables of pandas and files of them: numbers as they are, categories one-hot, new rows by the same description."""

from __future__ import annotations

import builtins
import datetime
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bpfree.data import Columns, Table, from_arrays, from_table, load, load_any, load_examples
from bpfree.errors import BpfreeError, DataError, UsageError

N = 30
RANDOM = np.random.RandomState(0)
FRAME: Any = pd.DataFrame({
    "size": RANDOM.standard_normal(N).round(3),
    "colour": np.array(["red", "blue", "green"])[RANDOM.randint(0, 3, N)],
    "old": RANDOM.rand(N) < 0.5,
    "count": RANDOM.randint(0, 9, N),
    "species": np.array(["wolf", "ant", "mole"])[np.arange(N) % 3],
})  # fmt: skip
ENCODED = np.column_stack([
    FRAME["size"],
    *(FRAME["colour"] == colour for colour in ("blue", "green", "red")),
    FRAME["old"],
    FRAME["count"],
]).astype(float)  # fmt: skip


@pytest.fixture(params=["csv", "parquet", "frame", "categories"])
def source(request, tmp_path):
    """The same table in four forms."""
    if request.param == "csv":
        FRAME.to_csv(tmp_path / "t.csv", index=False)
        return tmp_path / "t.csv"
    if request.param == "parquet":
        FRAME.to_parquet(tmp_path / "t.parquet")
        return str(tmp_path / "t.parquet")
    return FRAME.astype({"colour": "category", "species": "category"}) if request.param == "categories" else FRAME


def test_the_examples_by_value(source):
    data = from_table(source, "species", split_seed=3)
    expected = from_arrays(ENCODED, FRAME["species"], split_seed=3)
    assert data.data_digest == expected.data_digest
    for split in data.splits:
        assert data.splits[split].x.dtype == torch.float32
        assert torch.equal(data.splits[split].x, expected.splits[split].x)
        assert torch.equal(data.splits[split].y, expected.splits[split].y)
    assert data.classes == ("ant", "mole", "wolf")
    assert data.columns is not None
    assert {each.name: each.categories for each in data.columns.columns} == {
        "size": None, "colour": ("blue", "green", "red"), "old": None, "count": None,
    }  # fmt: skip
    assert data.columns == Columns.model_validate_json(data.columns.model_dump_json())
    assert pickle.loads(pickle.dumps(data)).columns == data.columns


def test_a_table_takes_split_seeds_where_a_data_set_has_its_own(source):
    loaded = load_any(Table(source, "species"), split_seed=3)
    assert loaded.split_digest == from_table(source, "species", split_seed=3).split_digest
    assert loaded.split_digest != from_table(source, "species").split_digest
    assert load_any(lambda: Table(source, "species"), split_seed=3).split_digest == loaded.split_digest
    with pytest.raises(UsageError, match=r"channels last was asked, but a table has no images"):
        load_any(Table(source, "species"), channels="last")


def test_new_rows_are_encoded_as_in_training(source, tmp_path):
    columns = from_table(source, "species").columns
    assert columns is not None
    rows = FRAME.iloc[[4, 0]][["count", "old", "species", "colour", "size"]].assign(more="ignored")
    assert np.array_equal(columns.encode(rows, "new"), ENCODED[[4, 0]])
    rows.to_csv(tmp_path / "new.csv", index=False, sep=";")
    assert np.array_equal(load_examples(tmp_path / "new.csv", columns=columns).numpy(), ENCODED[[4, 0]])


def test_codes_that_look_like_numbers_stay_text(tmp_path):
    codes = FRAME.assign(colour=np.array(["01", "2", "x"])[np.arange(N) % 3])
    columns = from_table(codes, "species").columns
    codes[codes["colour"] == "01"].to_csv(tmp_path / "new.csv", index=False)  # pandas alone would read 1
    assert columns is not None
    assert load_examples(tmp_path / "new.csv", columns=columns)[:, 1:4].tolist() == [[1.0, 0.0, 0.0]] * 10


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ([5, 7, 9], (5, 7, 9)),
        ([0, 1, 2], None),
        ([False, True, True], ("False", "True")),
        (["b", "a", "c"], ("a", "b", "c")),
    ],
)
def test_targets_of_any_kind(tmp_path, target, classes):
    frame = FRAME.assign(species=np.array(target)[np.arange(N) % 3])
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert from_table(tmp_path / "t.csv", "species").classes == from_table(frame, "species").classes == classes


def test_a_column_divides_the_rows():
    parts = np.array(["train", "test", "validation"])[np.arange(N) // 10 % 3]
    data = from_table(FRAME.assign(part=parts), "species", split_column="part")
    own: dict[str, Any] = {f"{what}_{part}": values[parts == part] for part in set(parts) for what, values in
           (("x", ENCODED), ("y", FRAME["species"].to_numpy()))}  # fmt: skip
    assert data.data_digest == from_arrays(**own).data_digest
    assert data.in_shape == (6,)
    drawn = from_table(FRAME.assign(part=np.where(parts == "validation", "train", parts)), "species", split_column="part")
    assert [drawn.n(split) for split in ("train", "validation", "test")] == [17, 3, 10]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (FRAME.assign(size=FRAME["size"].where(FRAME["size"] > 0), count=[None, *range(N - 1)]),
         rf"missing values, by column: 'size' {np.sum(FRAME['size'].to_numpy() <= 0)}, 'count' 1; fill them in .* or drop"),
        (FRAME.assign(species=[None, *FRAME["species"][1:]]), r"missing values, by column: 'species' 1; fill"),
        (FRAME.assign(day=pd.Timestamp("2020-01-01")), r"column 'day' is datetime64.*neither numbers nor categories .*a date: "),
        (FRAME.assign(day=datetime.date(2020, 1, 1)), r"column 'day' is object \(date\), neither"),
        (FRAME.assign(size=np.inf), r"column 'size' has 30 infinite values; replace them"),
        (FRAME.assign(price=["1,5", "2"] * 15), r"column 'price' has numbers written as text, such as '1,5'; write 1.5, not 1,5"),
        (FRAME.assign(species="wolf"), r"all 30 labels are wolf; give examples of at least two classes"),
        (FRAME.assign(species=np.linspace(0, 1, N)), r"'species' is float64, but classes are text or whole .*pandas.cut"),
        (FRAME.assign(species=pd.Timestamp("2020-01-01")), r"'species' is datetime64.*, but classes are text or whole numbers"),
        (FRAME[["species"]], r"has no column but 'species'; give columns to learn from"),
        (FRAME[:0], r"has column names but no rows"),
        (FRAME.drop(columns="species"), r"has no column 'species' to be the target; it has: 'size', 'colour', 'old', 'count'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["frame", "parquet"])
def test_tables_that_cannot_be_learned(changed, match, form, tmp_path):
    given = changed
    if form == "parquet":
        given = tmp_path / "t.parquet"
        changed.to_parquet(given)
    with pytest.raises(BpfreeError, match=match) as caught:
        from_table(given, "species")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("table" if form == "frame" else "t.parquet")


def test_a_column_of_several_types():
    with pytest.raises(DataError, match=r"column 'mixed' is object \(int, str\), neither numbers nor categories"):
        from_table(FRAME.assign(mixed=[1, "a"] * 15), "species")


def test_a_name_of_each_row_is_no_category():
    wide = pd.DataFrame({"name": [f"n{k}" for k in range(1001)], "y": [0, 1, 2, 0, 1, 2, 0] * 143})
    with pytest.raises(DataError, match=r"column 'name' has 1001 categories in 1001 rows, at most 1000 can be one-hot; drop it"):
        from_table(wide, "y")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", r"is empty; write a line of column names"),
        (b"\n\n", r"is empty; write a line of column names"),
        (b"a,species\n", r"has column names but no rows"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"t.csv is not text in UTF-8, though it is called .csv; save it as CSV in UTF-8$"),
        ("a,species\n1,Łódź\n".encode("cp1250"), r"is not text in UTF-8 \(.*\); save it as CSV in UTF-8"),
        (b"a,species\n1,x\n2,y,3,4\n", r"cannot be read as a .csv file \(.*line 3.*\); write or copy it again"),
        (b"a,species\n1,x,5\n2,y,6\n", r"has rows with more values than its header has names"),
        (b",a,species\n0,1,x\n1,2,y\n", r"has 1 columns without a name, perhaps the number of the row; .*index=False"),
        (b"a,b\n1,2\n", r"has no column 'species' to be the target; it has: 'a', 'b'"),
        (b"a;b\n1;2\n", r"^t.csv has no column .* it has: 'a', 'b'"),
        (b"PAR1 no", r"it has: 'PAR1 no'"),
    ],
)
def test_files_that_are_no_table(tmp_path, text, match):
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(BpfreeError, match=match) as caught:
        from_table(tmp_path / "t.csv", "species")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_files_as_spreadsheets_write_them(tmp_path, separator):
    FRAME.to_csv(tmp_path / "t.csv", index=False, sep=separator, encoding="utf-8-sig", lineterminator="\r\n")
    assert from_table(tmp_path / "t.csv", "species").data_digest == from_table(FRAME, "species").data_digest


def test_a_damaged_parquet_file(tmp_path):
    FRAME.to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    for damaged in (b"", whole[:100], whole[:-9], b"a,b\n"):
        (tmp_path / "t.parquet").write_bytes(damaged)
        with pytest.raises(DataError, match=r"t.parquet cannot be read as a .parquet file \(.*\); write or copy it again"):
            from_table(tmp_path / "t.parquet", "species")


def renamed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"old": "new"})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (renamed, r"new has no column 'old', which was learned from; it has: 'size', 'colour', 'new', 'count', 'species'"),
        (lambda frame: frame.assign(colour=["red", "pink"] * 15),
         r"column 'colour' has 'pink' \(15 rows with such values\), but training had 'blue', 'green', 'red'; drop those rows"),
        (lambda frame: frame.assign(size="much"), r"column 'size' must hold numbers, got (str|object), such as 'much'"),
        (lambda frame: frame.assign(size=np.nan), r"missing values, by column: 'size' 30"),
        (lambda frame: pd.concat([frame, frame[["old"]]], axis=1), r"several columns of one name"),
    ],
)  # fmt: skip
def test_new_rows_that_do_not_fit(change: Callable[[pd.DataFrame], pd.DataFrame], match):
    columns = from_table(FRAME, "species").columns
    assert columns is not None
    with pytest.raises(DataError, match=match):
        columns.encode(change(FRAME), "new")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["train", "tset"] * 15, r"column 'part' has 'tset'; write train, validation, test"),
        (["train"] * N, r"column 'part' has no row of test; give some, or leave the split column out"),
        ([None, "test"] * 15, r"missing values, by column: 'part' 15"),
    ],
)
def test_split_columns_that_do_not_divide(values, match):
    with pytest.raises(DataError, match=match):
        from_table(FRAME.assign(part=values), "species", split_column="part")


def test_what_else_is_refused(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UsageError, match=r"t.csv: which column holds the labels\? say --target-column COLUMN .*'species'"):
        load(tmp_path / "t.csv")
    with pytest.raises(UsageError, match=r"t.csv has no column 'part' to be the split column; it has: 'size'"):
        from_table(tmp_path / "t.csv", "species", split_column="part")
    with pytest.raises(DataError, match=r"there is no file .*absent.csv; check the path$"):
        from_table(tmp_path / "absent.csv", "species")
    with pytest.raises(UsageError, match=r"or a DataFrame of pandas, got a ndarray"):
        from_table(ENCODED, "species")
    with pytest.raises(DataError, match=r"several columns called 'old'"):
        from_table(pd.concat([FRAME, FRAME[["old"]]], axis=1), "species")
    with pytest.raises(DataError, match=r"t.csv is a table, but the model was trained on arrays"):
        load_examples(tmp_path / "t.csv", (4,))


@pytest.mark.parametrize(("missing", "suffix"), [("pandas", "csv"), ("pyarrow", "parquet")])
def test_the_missing_extra_is_one_line_with_the_cure(tmp_path, monkeypatch, missing, suffix):
    path: Path = tmp_path / f"t.{suffix}"
    FRAME.to_csv(path, index=False)
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == missing:
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    if missing == "pyarrow":
        monkeypatch.setattr(pd, "read_parquet", lambda path: without("pyarrow"))
    else:
        monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=rf"{missing} is not installed; use: pip install 'bpfree\[tables\]'") as caught:
        from_table(path, "species")
    assert "\n" not in str(caught.value)
