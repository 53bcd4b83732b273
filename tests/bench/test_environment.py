"""What is set before a measurement, what is written about the machine, and which code decides a number."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import bpfree
from bpfree.bench import environment
from bpfree.bench.environment import COUNTED, NOT_COUNTED, Environment, digest, digest_of, facts
from bpfree.errors import RunDirectoryError

CPU = torch.device("cpu")
PACKAGE = Path(bpfree.__file__).parent
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


class TestConfigureTorch:
    @pytest.fixture
    def threads(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The numbers of threads that were set, in order."""
        calls: list[int] = []
        monkeypatch.setattr(torch, "set_num_threads", calls.append)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        return calls

    @pytest.mark.parametrize("device", ["cuda", "cpu"])
    def test_convolutions_are_float32_in_full_as_products_are(self, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
        """torch's default rounds a convolution's factors to TF32 on a GPU, not a matrix product's."""
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
        environment.configure_torch(10, 10, torch.device(device))
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"

    def test_a_small_step_has_one_thread(self, threads: list[int]) -> None:
        environment.configure_torch(1_000, 64, CPU)
        assert threads == [1]

    @pytest.mark.parametrize(("batch_size", "expected"), [(166, [1]), (167, [])])
    def test_small_is_below_50_million_multiply_adds_forward_and_backward(
        self, threads: list[int], batch_size: int, expected: list[int]
    ) -> None:
        """3 · 100,000 · 166 = 49.8 million; 3 · 100,000 · 167 = 50.1 million."""
        environment.configure_torch(100_000, batch_size, CPU)
        assert threads == expected

    def test_exactly_the_limit_is_not_small(self, threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "SMALL_STEP_MACS", 3 * 1_000 * 64)
        environment.configure_torch(1_000, 64, CPU)
        assert threads == []

    def test_on_a_gpu_the_processor_keeps_its_threads(self, threads: list[int]) -> None:
        environment.configure_torch(1_000, 64, torch.device("cuda"))
        assert threads == []

    def test_omp_num_threads_overrides_the_rule(self, threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        environment.configure_torch(1_000, 64, CPU)
        assert threads == []


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all: who changes it puts it back."""
    folder = tmp_path_factory.mktemp("copied") / "bpfree"
    return shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))


def digest_when_changed(root: Path, name: str) -> str:
    """With a line more at the end of one file, which is then as it was."""
    before = (root / name).read_bytes()
    (root / name).write_bytes(before + b"\n# changed\n")
    try:
        return digest_of(root)
    finally:
        (root / name).write_bytes(before)


class TestCodeDigest:
    def test_every_part_of_the_package_is_classified_once(self) -> None:
        """A new package must be put into one of the two lists: can its code change a recorded number?"""
        parts = [
            path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
        ]
        assert {part: (*COUNTED, *NOT_COUNTED).count(part) for part in parts} == dict.fromkeys(parts, 1)

    def test_a_copy_has_the_same(self, copied: Path) -> None:
        assert digest_of(copied) == environment.code_digest()

    @pytest.mark.parametrize(
        "name",
        ["algorithms/__init__.py", "bench/suites/scale.py", "data/__init__.py", "meter/__init__.py", "models/__init__.py",
         "nets/__init__.py", "numerics/__init__.py", "rulesets/ruleset.py", "rulesets/standard/spaces.yaml", "stats/targets.py",
         "parallel/wire.py", "train/__init__.py", "records/lines.py", "bits.py",
         "countries.py", "ends.py", "fields.py", "tensor_files.py", "units.py"],
    )  # fmt: skip
    def test_what_can_change_a_record_changes_it(self, copied: Path, name: str) -> None:
        assert digest_when_changed(copied, name) != environment.code_digest()

    @pytest.mark.parametrize(
        "name", ["cli/app.py", "report/page.py", "errors.py", "_version.py", "rulesets/quick.yaml", "bench/suites/mf2025.yaml"]
    )
    def test_what_cannot_leaves_it(self, copied: Path, name: str) -> None:
        assert digest_when_changed(copied, name) == environment.code_digest()

    def test_a_renamed_file_changes_it(self, copied: Path) -> None:
        renamed = (copied / "stats" / "targets.py").rename(copied / "stats" / "zzz.py")
        assert digest_of(copied) != environment.code_digest()
        renamed.rename(copied / "stats" / "targets.py")

    def test_a_new_table_changes_it(self, copied: Path) -> None:
        table = copied / "bench" / "spaces.yaml"
        table.write_text("lr: 1\n")
        assert digest_of(copied) != environment.code_digest()
        table.unlink()

    def test_it_is_among_the_versions(self) -> None:
        assert environment.versions()["bpfree code"] == environment.code_digest()
        assert len(environment.code_digest()) == 16


class TestEnvironmentFile:
    def test_what_is_written_is_read_back(self, tmp_path: Path) -> None:
        here = facts(CPU)
        environment.write_environments(tmp_path / "environment.json", {digest(here): here})
        assert environment.read_environments(tmp_path / "environment.json") == {digest(here): here}
        assert "gpu" not in (tmp_path / "environment.json").read_text()

    def test_any_field_changes_the_digest(self) -> None:
        here = facts(CPU)
        assert digest(here.model_copy(update={"torch_threads": 77})) != digest(here)
        assert digest(facts(CPU)) == digest(here)

    def test_no_file_is_no_environment(self, tmp_path: Path) -> None:
        assert environment.read_environments(tmp_path / "environment.json") == {}

    @pytest.mark.parametrize("text", ["", "[]", '{"a": {"device": "cpu"}}'])
    def test_another_form_is_one_line_with_its_place(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "environment.json").write_text(text)
        with pytest.raises(RunDirectoryError, match=r"environment\.json cannot be read \(.*\)$"):
            environment.read_environments(tmp_path / "environment.json")

    def test_a_misspelt_field_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="proccesor"):
            Environment.model_validate({**facts(CPU).as_json(), "proccesor": "x"})

    @pytest.mark.parametrize("path", sorted(RESULTS.glob("*/environment.json")), ids=lambda path: path.parent.name)
    def test_published_results_have_this_form_and_digest(self, path: Path) -> None:
        for key, each in environment.read_environments(path).items():
            assert digest(each) == key
