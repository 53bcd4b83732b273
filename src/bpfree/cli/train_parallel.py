"""``torchrun -m bpfree train RULE --parallel layers`` or ``data``: the first rank is the command, the others follow silently."""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from bpfree._version import __version__
from bpfree.bench import Arm
from bpfree.bench.checked import Checked
from bpfree.bench.preparation import IDLE_S
from bpfree.bench.setting import Setting, Together
from bpfree.cli.session import check
from bpfree.cli.setting import Request, torch_device
from bpfree.errors import BpfreeError, UsageError
from bpfree.meter import Meter, Missing
from bpfree.parallel import KINDS, Ranks, check_layers, check_mesh, check_rows, check_same, follow, in_torchrun, joined, passes_of
from bpfree.rulesets import digest
from bpfree.train import initialise
from bpfree.train.passes import Work

__all__ = ["in_ranks", "meter_of"]


def in_ranks(kind: str, request: Request, arm_of: Callable[[], Arm], seed: int, lead: Callable[[Checked], int]) -> int:
    """Train in the ranks of this torchrun; returns the exit code.

    Args:
        arm_of: reads what is trained from the command line, or refuses it.
        lead: what the command does, in the first rank; its setting says that steps are made together.

    Raises:
        UsageError: in the first rank, whichever rank found the mistake.
        RunInterruptedError: another rank is gone.
    """
    if not in_torchrun():
        _check_kind(kind)
    with joined(torch_device(request.meter.device)) as ranks:
        ready = _agreed(ranks, lambda: _checked(kind, ranks, request, arm_of, seed))
        if ready is None:
            return 2
        setting = ready.setting
        if ranks.leads:
            passes = passes_of(kind, ranks)
            setting.together = Together(passes, kind, ranks.size)
            try:
                return lead(ready)
            finally:
                passes.end()
        arm = arm_of()
        rules = setting.arm_rules(arm).rules
        algorithm, net, data = arm.build({}), setting.build_net(), setting.data.without_test()
        state = initialise(algorithm, net, seed, setting.device)
        follow(ranks, Work(algorithm, net, state, data, rules.batch_size, seed, rules.precision), kind)
        return 0


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"unknown --parallel {kind!r}; choose from {'; '.join(KINDS)}")


def _checked(kind: str, ranks: Ranks, request: Request, arm_of: Callable[[], Arm], seed: int) -> Checked:
    """As of one process, on the device of this rank; refused where the ranks differ."""
    _check_kind(kind)
    arm = arm_of()
    here = replace(request, meter=replace(request.meter, device=str(ranks.device)))
    ready = check(here, "train", [arm], [seed])
    setting = ready.setting
    if (tier := setting.ruleset.plan.tier) != "eager":
        raise UsageError(f"steps in several processes are made in the tier eager, and {tier} was asked for; use --tier eager")
    algorithm, net = arm.build({}), setting.build_net()
    if kind == "layers":
        check_layers(algorithm, net, ranks.size)
    else:
        check_shared = check_rows if kind == "data" else check_mesh
        check_shared(algorithm, net, setting.data, setting.arm_rules(arm).rules.batch_size, ranks.size)
    setting.meter = _meter(ranks, setting, estimate=request.meter.estimate_energy)
    return ready


def _agreed(ranks: Ranks, make: Callable[[], Checked]) -> Checked | None:
    """What every rank made; where one could not, its error is raised in the first rank, and the others get None.

    Raises:
        UsageError: see above; or the ranks differ in version, ruleset, data or net.
    """
    made: Checked | None = None
    problem: str | None = None
    try:
        made = make()
    except BpfreeError as error:
        problem = str(error)
    first = next(((rank, text) for rank, text in enumerate(ranks.gather(problem)) if text is not None), None)
    if first is None and made is not None:
        try:
            check_same(ranks, _facts(made.setting))
        except UsageError as error:
            first = (0, str(error))
    if first is None:
        return made
    rank, text = first
    if ranks.leads:
        raise UsageError(text if rank == 0 else f"rank {rank}: {text}")
    return None


def _facts(setting: Setting) -> dict[str, str]:
    return {
        "version of bpfree": __version__,
        "version of torch": torch.__version__,
        "version of Python": platform.python_version(),
        "ruleset (digest)": digest(setting.ruleset)[:16],
        "data (digest)": setting.data.data_digest[:16],
        "net": setting.net,
        "arms": ", ".join(setting.plan["arms"]),
        "seed": str(setting.plan["seeds"]),
    }


def _meter(ranks: Ranks, setting: Setting, *, estimate: bool) -> Meter:
    places = ranks.gather((socket.gethostname(), str(ranks.device)))
    meter = setting.meter
    if not ranks.leads or ranks.size == 1:
        return meter
    hosts = list(dict.fromkeys(host for host, _ in places))
    if len(hosts) > 1:
        why = f"the ranks run on {len(hosts)} machines, and energy is metered on one"
        return Meter(setting.device, (), missing=[Missing("ranks", why, "run all ranks on one machine")], probe=meter.probe)
    return meter_of(list(dict.fromkeys(device for _, device in places)), meter, estimate=estimate)


def meter_of(devices: Sequence[str], meter: Meter, *, estimate: bool = False) -> Meter:
    """A meter of several devices of this machine: each source once, so that boards add up and the processor counts once.

    Args:
        meter: of the first of them.
    """
    if len(devices) == 1:
        return meter
    sources = {source.name: source for source in meter.sources}
    missing = {each.name: each for each in meter.missing}
    for device in devices[1:]:
        other = Meter.detect(device, estimate=estimate)
        sources |= {source.name: source for source in other.sources if source.name not in sources}
        missing |= {each.name: each for each in other.missing}
    together = Meter(meter.device, tuple(sources.values()), missing=tuple(missing.values()), probe=meter.probe)
    if together.sources:
        together.measure_idle(IDLE_S)
    return together
