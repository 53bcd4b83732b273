"""RAPL against a simulated powercap tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from meter_fakes import write_domain

from bpfree.meter import Meter, SourceError, detect
from bpfree.meter.doctor import diagnose
from bpfree.meter.rapl import detect_rapl

RANGE_UJ = 65_532_610_987


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two packages with their subdomains, as a server has them, flat as in /sys/class/powercap."""
    for number in (0, 1):
        write_domain(tmp_path / f"intel-rapl:{number}", f"package-{number}", 1_000_000, RANGE_UJ)
        write_domain(tmp_path / f"intel-rapl:{number}:0", "core", 77)
        write_domain(tmp_path / f"intel-rapl:{number}:1", "dram", 500_000, RANGE_UJ)
    write_domain(tmp_path / "intel-rapl:2", "psys", 9_000_000)
    write_domain(tmp_path / "intel-rapl-mmio:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def add_uj(tree: Path, domain: str, energy_uj: int) -> None:
    path = tree / domain / "energy_uj"
    path.write_text(str((int(path.read_text()) + energy_uj) % (RANGE_UJ + 1)))


def test_packages_and_memory_are_found_and_nothing_that_lies_inside_or_around_them(tree: Path) -> None:
    sources, missing = detect_rapl(tree)
    assert [(source.name, source.scope) for source in sources] == [
        ("rapl:package-0", "cpu-package"),
        ("rapl:dram-0", "dram"),
        ("rapl:package-1", "cpu-package"),
        ("rapl:dram-1", "dram"),
    ]
    assert missing == []


def test_a_nested_tree_is_read_once(tmp_path: Path) -> None:
    """In /sys/devices the subdomain lies inside the package; in /sys/class both views exist."""
    write_domain(tmp_path / "intel-rapl:0", "package-0", 1)
    write_domain(tmp_path / "intel-rapl:0" / "intel-rapl:0:0", "dram", 1)
    (tmp_path / "intel-rapl:0:0").symlink_to(tmp_path / "intel-rapl:0" / "intel-rapl:0:0")
    assert [source.name for source in detect_rapl(tmp_path)[0]] == ["rapl:package-0", "rapl:dram-0"]


def test_microjoules_of_all_packages_and_memories_add_up(tree: Path) -> None:
    with Meter("cpu", detect_rapl(tree)[0]).window() as window:
        add_uj(tree, "intel-rapl:0", 3_000_000)
        add_uj(tree, "intel-rapl:1", 4_000_000)
        add_uj(tree, "intel-rapl:0:1", 500_000)
        add_uj(tree, "intel-rapl:1:1", 250_000)
        add_uj(tree, "intel-rapl:0:0", 99_000_000)
        add_uj(tree, "intel-rapl:2", 99_000_000)
    reading = window.reading
    assert reading is not None
    assert reading.joules == pytest.approx(7.75)
    assert (reading.method, reading.scope) == ("rapl", "cpu-package+dram")


def test_a_wrap_inside_the_window_is_counted_over(tree: Path) -> None:
    path = tree / "intel-rapl:0" / "energy_uj"
    path.write_text(str(RANGE_UJ - 1_000_000))
    sources, _ = detect_rapl(tree)
    source = sources[0]
    before_j = source.joules()
    path.write_text("1999999")
    assert source.joules() - before_j == pytest.approx(3.0)


def test_a_jump_back_that_is_no_wrap_is_null(tree: Path) -> None:
    source = detect_rapl(tree)[0][0]
    source.joules()
    (tree / "intel-rapl:0" / "energy_uj").write_text("5")  # as a wrap it would be 65 kJ at once
    with pytest.raises(SourceError, match="reset"):
        source.joules()


def dies(tree: Path, energies_uj: tuple[int, int], name: str = "package-0-die-{}") -> Path:
    for die, energy_uj in enumerate(energies_uj):
        write_domain(tree / f"intel-rapl:{die}", name.format(die), energy_uj, RANGE_UJ)
    return tree


def spent(tree: Path, first_uj: int, second_uj: int) -> float | None:
    sources, missing = detect_rapl(tree)
    with Meter("cpu", sources, missing=missing).window() as window:
        add_uj(tree, "intel-rapl:0", first_uj)
        add_uj(tree, "intel-rapl:1", second_uj)
        so_far = window.joules_so_far()
    assert window.reading is not None
    assert window.reading.joules == pytest.approx(so_far)
    return window.reading.joules


def test_dies_that_mirror_each_other_are_one_package(tmp_path: Path) -> None:
    """Both show the counter of their package: 68 J, and not 136."""
    assert spent(dies(tmp_path, (7_000_000_000, 7_000_000_900)), 68_000_000, 68_000_000) == pytest.approx(68.0)


def test_dies_whose_counters_stand_on_both_sides_of_the_wrap_are_one_package(tmp_path: Path) -> None:
    assert [each.name for each in detect_rapl(dies(tmp_path, (RANGE_UJ - 100, 500)))[0]] == ["rapl:package-0-die-0"]
    (tmp_path / "back").mkdir()
    assert [each.name for each in detect_rapl(dies(tmp_path / "back", (500, RANGE_UJ - 100)))[0]] == ["rapl:package-0-die-0"]


def test_dies_with_counters_of_their_own_add_up(tmp_path: Path) -> None:
    assert spent(dies(tmp_path, (7_000_000_000, 7_020_000_000)), 68_000_000, 66_000_000) == pytest.approx(134.0)


def test_a_die_that_cannot_be_read_mirrors_none(tmp_path: Path) -> None:
    tree = dies(tmp_path, (5, 7_000_000_000))
    (tree / "intel-rapl:0" / "energy_uj").write_text("no number")
    sources, missing = detect_rapl(tree)
    assert [each.name for each in sources] == ["rapl:package-0-die-1"]
    assert [each.name for each in missing] == ["rapl:package-0-die-0"]


def test_packages_that_happen_to_show_the_same_are_two(tmp_path: Path) -> None:
    assert spent(dies(tmp_path, (1_000_000, 1_000_000), "package-{}"), 68_000_000, 66_000_000) == pytest.approx(134.0)


@pytest.mark.parametrize(("second_uj", "names"), [(5_000_000, 1), (90_000_000, 2)])
def test_two_domains_of_one_name_are_one_counter_or_two(tmp_path: Path, second_uj: int, names: int) -> None:
    sources, _ = detect_rapl(dies(tmp_path, (5_000_000, second_uj), "package-0"))
    assert [source.name for source in sources] == ["rapl:package-0", "rapl:package-0 (intel-rapl:1)"][:names]


def test_memories_of_mirrored_dies_are_one_memory(tmp_path: Path) -> None:
    for die in (0, 1):
        write_domain(tmp_path / f"intel-rapl:{die}", f"package-0-die-{die}", 50_000_000)
        write_domain(tmp_path / f"intel-rapl:{die}:0", "dram", 90_000_000)
    assert [source.name for source in detect_rapl(tmp_path)[0]] == ["rapl:package-0-die-0", "rapl:dram-0-die-0"]


@pytest.mark.parametrize(
    ("broken", "null"),
    [
        (["intel-rapl:1"], True),
        (["intel-rapl:1:1"], True),
        (["intel-rapl:0", "intel-rapl:1"], True),
        (["intel-rapl:0:1", "intel-rapl:1:1"], False),
        (["intel-rapl:0:0", "intel-rapl:2"], False),
    ],
    ids=["a package", "a memory", "both packages", "both memories", "parts that are not read"],
)
def test_a_counter_that_is_there_and_cannot_be_read_makes_the_total_null(tree: Path, broken: list[str], null: bool) -> None:
    """What is left is a part; the scope says that memories were not counted at all."""
    for domain in broken:
        (tree / domain / "energy_uj").write_text("broken")
    sources, missing = detect_rapl(tree)
    with Meter("cpu", sources, missing=missing).window() as window:
        for domain in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:1", "intel-rapl:1:1"):
            if domain not in broken:
                add_uj(tree, domain, 1_000_000)
        assert (window.joules_so_far() is None) == null
    reading = window.reading
    assert reading is not None
    assert (reading.joules is None) == null
    if null:
        assert f"rapl:{'dram' if broken[0].endswith(':1:1') else 'package'}" in reading.reasons["energy.joules"]
        assert "reading it failed" in reading.reasons["energy.joules"]
        assert "a part is no total" in reading.reasons["energy.joules"]
    finding = next(each for each in diagnose("cpu", detect("cpu", powercap_root=tree)) if each.quantity == "CO2e")
    assert (finding.why_null == "there are no joules to compute it from") == null


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_files_are_missing_with_the_cure(tree: Path) -> None:
    (tree / "intel-rapl:0" / "energy_uj").chmod(0)
    check_unreadable(tree)


def test_a_refusal_of_the_kernel_is_missing_with_the_cure(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for root, to whom the mode of a file means nothing."""
    read_text, refused = Path.read_text, tree / "intel-rapl:0" / "energy_uj"

    def guarded(path: Path, *args, **kwargs) -> str:
        if path == refused:
            raise PermissionError(13, "Permission denied")
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    check_unreadable(tree)


def check_unreadable(tree: Path) -> None:
    sources, missing = detect_rapl(tree)
    assert "rapl:package-0" not in [source.name for source in sources]
    assert "rapl:package-1" in [source.name for source in sources]
    assert [entry.name for entry in missing] == ["rapl:package-0"]
    assert "only root" in missing[0].reason
    assert "udev" in missing[0].cure
    assert "chmod" in missing[0].cure


@pytest.mark.parametrize("content", ["", "many", None])
def test_a_broken_file_is_missing(tree: Path, content: str | None) -> None:
    path = tree / "intel-rapl:0" / "energy_uj"
    path.unlink() if content is None else path.write_text(content)
    _, missing = detect_rapl(tree)
    assert [entry.name for entry in missing] == ["rapl:package-0"]


def test_a_file_that_vanishes_in_mid_run_is_null(tree: Path) -> None:
    with Meter("cpu", detect_rapl(tree)[0]).window() as window:
        for domain in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:1", "intel-rapl:1:1"):
            add_uj(tree, domain, 1_000_000)
        (tree / "intel-rapl:1" / "energy_uj").unlink()
    reading = window.reading
    assert reading is not None
    assert reading.joules is None
    assert reading.sources["rapl:package-0"] == pytest.approx(1.0)
    assert "cannot be read any more" in reading.reasons["energy.sources.rapl:package-1"]


@pytest.mark.parametrize("exists", [True, False])
def test_no_tree_says_what_would_change_that(tmp_path: Path, exists: bool) -> None:
    sources, missing = detect_rapl(tmp_path if exists else tmp_path / "absent")
    assert sources == []
    assert [entry.name for entry in missing] == ["rapl"]
    assert "virtual machine" in missing[0].cure
    assert "--estimate-energy" in missing[0].cure
