"""What is counted on twins, in which order, and how an environment is known: by value, with stand-ins for what counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import rulesets
from bpfree.bench import counting, environment
from bpfree.bench.arm import Arm, parse_arms
from bpfree.bench.counting import ApartCount, LiveStep
from bpfree.bench.environment import Environment
from bpfree.bench.stops import check_passes, check_phases
from bpfree.errors import BpfreeError
from bpfree.meter import FlopCount
from bpfree.nets import build


def work(name: str, every: int | None, *, apart: bool = False, before: bool = False, do: Callable[..., None] = print) -> Any:
    return SimpleNamespace(name=name, every=every, apart=apart, before=before, do=do)


def rule(*works: Any, learn: Callable[..., Any] = lambda *_: None) -> Any:
    return SimpleNamespace(upkeep=lambda: list(works), learn=learn)


FLOPS = {"a": 100, "b": 60, "c": 1000, "once": 10**6, "apart": 7000}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has 500 FLOPs, periodic work those of its name."""
    monkeypatch.setattr(counting, "twins", lambda net, state: (net, state))
    monkeypatch.setattr(counting, "counting_flops", lambda **_: nullcontext(FlopCount(500)))
    monkeypatch.setattr(counting, "_upkeep_flops", lambda work, net, state, batch: FLOPS[work.name])


ANY: Any = None


def test_a_step_has_the_share_of_periodic_work(counted: None) -> None:
    algorithm = rule(work("a", 4), work("b", 1), work("once", None), work("apart", 10, apart=True))
    assert counting.step_flops(algorithm, ANY, ANY, ANY, ANY) == 500 + 25 + 60
    assert counting.step_flops(rule(), ANY, ANY, ANY, ANY) == 500


def test_work_apart_is_that_of_the_most_frequent(counted: None) -> None:
    """60 every 5 steps and 1000 every 20 are 60 + 250 every 5."""
    assert counting.apart_flops(rule(work("a", 4)), ANY, ANY, ANY) is None
    assert counting.apart_flops(rule(work("once", None, apart=True)), ANY, ANY, ANY) is None
    one = rule(work("a", 4), work("apart", 10, apart=True))
    assert counting.apart_flops(one, ANY, ANY, ANY) == ApartCount("apart", 10, 7000)
    two = rule(work("c", 20, apart=True), work("b", 5, apart=True))
    assert counting.apart_flops(two, ANY, ANY, ANY) == ApartCount("c and b", 5, 310)


def test_what_is_due_in_every_step_is_done_before_or_after_it() -> None:
    done: list[str] = []

    def doing(name: str) -> Callable[..., None]:
        return lambda *arguments: done.append(f"{name} {arguments}")

    algorithm = rule(
        work("after", 1, do=doing("after")), work("before", 1, before=True, do=doing("before")),
        work("seldom", 2, before=True, do=doing("seldom")), work("once", None, do=doing("once")),
        learn=lambda *arguments: done.append(f"learn {arguments}"),
    )  # fmt: skip
    counting.every_step(algorithm, "net", "state", "batch", "phase")  # type: ignore[arg-type]
    three = ("net", "state", "batch")
    assert done == [f"before {three}", f"learn {(*three, 'phase')}", f"after {three}"]
    assert LiveStep(30, 12).peak_bytes == 42


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(BpfreeError) as error:
        call(*arguments)
    return str(error.value)


def rules(field: str, value: Any, **more: Any) -> rulesets.Ruleset:
    exception = {"arms": ["mono-forward"], "field": field, "value": value, "why": "x", "phases": ["block 1", "head"]} | more
    return rulesets.load("quick").with_changes(exceptions=[exception])


def test_exceptions_for_phases() -> None:
    arms = parse_arms("mono-forward:schedule=staged,mono-forward,backprop")
    net = build("mlp:2x4", (64,), 10)
    phases = ", ".join(dict.fromkeys(phase.name for arm in arms[:2] for phase in arm.build({}).phases(net)))
    who = "ruleset quick+changed has an exception of {} for the phase block 1, head of "
    assert refusal(check_phases, rules("batch_size", 32), arms, None) == (
        who.format("batch_size") + "mono-forward:schedule=staged, which cannot be kept: single phases may differ in stop.* and "
        "budget.max_passes alone"
    )
    assert refusal(check_phases, rules("stop.patience", 3), arms, net) == (
        who.format("stop.patience") + f"mono-forward:schedule=staged, mono-forward, which has no such phase; its phases: {phases}"
    )
    check_phases(rules("stop.patience", 3), arms, None)
    check_phases(rules("budget.max_passes", 3), arms, None)
    check_phases(rules("batch_size", 32, phases=[]), arms, net)
    check_phases(rules("batch_size", 32), arms[2:], net)
    assert refusal(check_phases, rules("batch_size", 32, datasets=["mnist"], nets=["mlp:9x9"]), arms, None)
    first = phases.split(", ")[0]
    check_phases(rules("stop.patience", 3, phases=["head", first]), arms, net)


def test_more_phases_than_passes() -> None:
    net = build("mlp:2x4", (64,), 10)
    arms = [Arm.parse("mono-forward:schedule=staged")]
    n = len(arms[0].build({}).phases(net))

    def quick(run: int, trial: int, trials: int = 1) -> rulesets.Ruleset:
        return rulesets.load("quick").with_changes(max_passes=run, passes_per_trial=trial, trials=trials)

    check_passes(quick(n, n), arms, net, "digits", "mlp:2x4")
    check_passes(quick(n, n - 1, trials=0), arms, net, "digits", "mlp:2x4")
    assert refusal(check_passes, quick(n - 1, n - 1), arms, net, "digits", "mlp:2x4")
    assert refusal(check_passes, quick(n, n - 1), arms, net, "digits", "mlp:2x4")
    three = build("mlp:3x4", (64,), 10)
    checked = (arms, three, "digits", "mlp:3x4")
    assert len(arms[0].build({}).phases(three)) == 3
    assert "each of at least one pass, but max_passes is 2; " in refusal(check_passes, quick(2, 1), *checked), "of a run"
    assert "each of at least one pass, but max_passes is 1; " in refusal(check_passes, quick(3, 1), *checked), "of a trial"


def test_the_digest_of_code_covers_code_and_tables_but_no_rules(tmp_path: Path) -> None:
    """By path, sorted; YAML files of rulesets and suites are left out, and so are parts that are not counted."""
    counted = {"algorithms/a.py": "one", "bench/b.py": "two", "stats/table.yaml": "three", "units.py": "four"}
    left_out = {
        "bench/suites/x.yaml": "x",
        "rulesets/y.yaml": "y",
        "report/z.py": "z",
        "algorithms/a.txt": "t",
        "cli/c.yaml": "c",
    }
    for name, text in (counted | left_out).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    expected = "".join(f"{name}\n{text}" for name, text in sorted(counted.items()))
    assert environment.digest_of(tmp_path) == hashlib.sha256(expected.encode()).hexdigest()[:16]


def test_digests_of_an_environment_and_of_what_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = environment.facts(torch.device("cpu"))
    text = json.dumps(facts.as_json(), sort_keys=True)
    assert environment.digest(facts) == hashlib.sha256(text.encode()).hexdigest()[:16]
    versions = {"bpfree code": "c", "torch": "t", "optuna": "o", "numpy": "n"}
    monkeypatch.setattr(environment, "versions", lambda: versions)
    assert environment.run_code_digest() == hashlib.sha256(b'["c", "t", "o"]').hexdigest()[:16]


def test_facts_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name="One", total_memory=5, major=8, minor=6)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.version, "cuda", "12.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 7)
    facts = environment.facts(torch.device("cuda:0"))
    of_processor = {"processor", "processor_kind", "instruction_set", "blas"}
    assert facts.model_dump(exclude=of_processor | {"cores", "memory_bytes", "torch_threads", "system", "versions"}) == {
        "device": "cuda:0", "float32_matmul_precision": torch.get_float32_matmul_precision(), "deterministic_algorithms": False,
        "gpu": "One", "gpu_memory_bytes": 5, "gpu_capability": "8.6", "cuda": "12.0", "cudnn": 7,
        "float32_convolutions_in_tf32": torch.backends.cudnn.allow_tf32,
    }  # fmt: skip
    plain = environment.facts(torch.device("cpu"))
    assert "gpu" not in plain.as_json()
    assert plain.torch_threads == torch.get_num_threads()


def test_the_kind_of_the_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(environment, "CPU_INFO", info)
    monkeypatch.setattr(environment.platform, "processor", lambda: "")
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86")

    def told() -> tuple[str, str | None]:
        facts = environment.facts(torch.device("cpu"))
        return facts.processor, facts.processor_kind

    assert told() == ("x86", "x86")
    info.write_text(
        "processor: 0\nvendor_id\t: Maker\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: One: Two \nstepping: 3\n\n"
        "processor: 1\nmodel name: Three\n"
    )
    assert told() == ("One: Two", "Maker family 25 model 1 stepping 3")
    info.write_text("vendor_id: Maker\n")
    monkeypatch.setattr(environment.platform, "processor", lambda: "arm")
    assert told() == ("arm", "Maker")


@pytest.mark.parametrize(
    ("config", "blas"),
    [
        ("  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product\n  - Build settings: BLAS_INFO=mkl, X=1", "mkl 2024.2"),
        ("Build settings: A=1, BLAS_INFO=open, B=2", "open"),
        ("Math Kernel Library Version 2024.2, BLAS_INFO=accelerate", "accelerate"),
        ("nothing", "unknown"),
    ],
)
def test_the_library_of_products(config: str, blas: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.__config__, "show", lambda: config)
    assert environment.facts(torch.device("cpu")).blas == blas


def test_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "codecarbon":
            raise environment.PackageNotFoundError
        return f"{package} 1"

    monkeypatch.setattr(environment, "version", version)
    monkeypatch.setattr(environment, "_version_of", environment._version_of.__wrapped__)  # nothing is remembered
    known = environment.versions()
    assert (known["codecarbon"], known["torch"]) == ("not installed", "torch 1")
    assert list(known)[:3] == ["bpfree", "bpfree code", "python"]
    assert Environment.model_validate(environment.facts(torch.device("cpu")).as_json()).device == "cpu"
