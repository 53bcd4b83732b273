"""What all measuring sections share: data on the device, the net, one meter, and who measured."""

from __future__ import annotations

import dataclasses
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree import rulesets
from bpfree._version import __version__
from bpfree.bench import Setting, environment, with_control
from bpfree.bench.arm import Arm, parse_arms
from bpfree.bench.preparation import prepare
from bpfree.cli.setting import torch_device
from bpfree.meter import Detection, Meter, detect
from bpfree.meter.nvml import driver_version
from bpfree.rulesets import digest

from .options import HERE, Options
from .store import Store, now

__all__ = ["Context", "prepared"]

IDLE_S = 5.0
"""For which idle power is measured where the doctor does not (s)."""


@dataclass
class Context:
    """Attributes:
    setting: of experiment 1; its data serve all sections.
    arms, cost_arms: of the experiment, and whose costs are measured.
    who: code and device, the part of every section's identity.
    """

    options: Options
    store: Store
    detection: Detection
    meter: Meter
    setting: Setting
    arms: tuple[Arm, ...]
    cost_arms: tuple[Arm, ...]
    who: dict[str, Any]

    def identity(self, section: str) -> dict[str, Any]:
        """Of a section: code, device, and the options that decide what it measures."""
        data, options = self.setting.data, self.options
        task = {"data": data.data_digest[:16], "augmentation": data.augmentation, "net": self.setting.net}
        own: dict[str, dict[str, Any]] = {
            "costs": task | {
                "arms": [arm.label for arm in self.cost_arms],
                "batch_sizes": list(options.batch_sizes),
                "window_s": options.window_s,
                "rounds": options.rounds,
            },
            "experiment": task | {"ruleset": digest(self.setting.ruleset), "seeds": options.seeds},
            "clocks": task,
        }  # fmt: skip
        return self.who | own.get(section, {})

    def measure_idle(self) -> None:
        """Idle power, where the doctor has not measured it in this process."""
        if self.meter.sources and self.meter.idle_w is None and self.meter.not_idle is None:
            self.meter.measure_idle(min(IDLE_S, self.options.window_s))


def prepared(options: Options, store: Store) -> Context:
    """Load the data, find the device and its meter, and write ``about.json``.

    Raises:
        BpfreeError: a device, data, net, ruleset or arm that cannot be used.
    """
    device = torch_device(options.device)
    rules = rulesets.load(options.ruleset).with_changes(seeds=list(range(options.seeds)))
    rules.check_use("compare")
    cost_arms, arms = parse_arms(options.arms), parse_arms(",".join(rules.plan.arms))
    arms = with_control(arms) if rules.plan.control else arms
    detection = detect(device)
    meter = Meter(device, detection.sources, missing=detection.missing, probe=detection.probe)
    setting = prepare(
        rules,
        options.dataset or rules.plan.datasets[0],
        options.net or rules.plan.nets[0],
        device,
        data_dir=options.data_dir,
        plan={
            "command": options.shown(),
            "arms": [arm.label for arm in arms],
            "seeds": list(rules.plan.seeds),
        },
        meter=meter,
        download=options.data_dir is None,
    )
    setting.data = dataclasses.replace(setting.data, name=Path(setting.data.name).name)  # of a file without its folder
    setting.plan["dataset"] = setting.data.name
    facts = setting.facts.as_json()
    hardware = ("device", "processor", "cores", "gpu", "gpu_memory_bytes", "gpu_capability", "cuda", "torch_threads")
    who = {"code": environment.run_code_digest(), **{key: facts[key] for key in hardware if key in facts}}
    store.write_about(_about(options, setting, facts))
    return Context(options, store, detection, meter, setting, arms, cost_arms, who)


def _about(options: Options, setting: Setting, facts: dict[str, Any]) -> dict[str, Any]:
    commit, changed, why = _commit()
    commit = options.commit if commit is None else commit
    driver = driver_version()
    about = {
        "command": options.shown(),
        "date": now(),
        "bpfree": __version__,
        "commit": commit,
        "changed_since_commit": changed,
        "device": facts.get("gpu") or facts["processor"],
        "driver": driver,
        "torch": facts["versions"]["torch"],
        "cuda": facts.get("cuda"),
        "dataset": setting.data.name,
        "examples": {split: setting.data.n(split) for split in setting.data.splits},
        "augmentation": setting.data.augmentation,
        "net": setting.net,
        "environment": facts,
    }
    reasons = {name: why for name, value in (("commit", commit), ("changed_since_commit", changed)) if value is None}
    reasons |= {"driver": "no NVIDIA driver answers"} if driver is None else {}
    reasons |= {} if about["cuda"] else {"cuda": "the device is no GPU, or torch was built without CUDA"}
    return about | {"reasons": reasons}


def _commit() -> tuple[str | None, bool | None, str]:
    """Commit, whether files were changed since, and why it is not known."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no")), ""
    except (OSError, subprocess.SubprocessError) as error:
        return None, None, f"git does not say ({type(error).__name__})"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
