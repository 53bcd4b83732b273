"""What a shell offers for values: rules, nets, data sets, rulesets and suites, from the catalogue; torch is not imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import typer

from bpfree import catalogue

__all__ = ["arms", "datasets", "devices", "launchers", "list_names", "list_words", "nets", "rules", "rulesets", "suites"]

Offer = tuple[str, str]
"""A value, and one line of help that some shells show."""


def _starting(offers: Iterable[Offer], incomplete: str) -> Iterator[Offer]:
    for value, words in offers:
        if value.startswith(incomplete):
            yield value, words


def _rules() -> dict[str, str]:
    ours = {name: entry.words for name, entry in catalogue.rules().items()}
    return ours | {name: other.distribution for name, other in catalogue.other_rules().items()}


def rules(incomplete: str) -> Iterator[Offer]:
    """Names of rules; behind ``name:``, the hyper-parameters."""
    name, colon, setting = incomplete.rpartition(":")
    entry = catalogue.rules().get(name.partition(":")[0])
    if not colon or entry is None:
        yield from _starting(_rules().items(), incomplete)
        return
    key, equals, _ = setting.partition("=")
    if equals:
        choices = entry.ranges[key].choices if key in entry.ranges else ()
        yield from _starting(((f"{name}:{key}={choice}", "") for choice in choices), incomplete)
    else:
        yield from _starting(((f"{name}:{each}=", "") for each in entry.ranges), incomplete)


def arms(incomplete: str) -> Iterator[Offer]:
    """The last of several arms with commas between."""
    before, comma, last = incomplete.rpartition(",")
    for value, words in rules(last):
        yield f"{before}{comma}{value}", words


def nets(incomplete: str) -> Iterator[Offer]:
    """Families of nets; behind ``family:``, its options."""
    family, colon, _ = incomplete.partition(":")
    if colon and family in catalogue.nets():
        before = incomplete.rpartition(":")[0]
        yield from _starting(((f"{before}:{option}=", "") for option in catalogue.net_options(family)), incomplete)
    else:
        others = {name: other.distribution for name, other in catalogue.other_nets().items()}
        yield from _starting({**catalogue.nets(), **others}.items(), incomplete)


def datasets(incomplete: str) -> Iterator[Offer]:
    """Names of data sets."""
    others = {name: other.distribution for name, other in catalogue.other_datasets().items()}
    of_bpfree = {name: words for name, words in catalogue.datasets().items() if "." not in name}
    yield from _starting({**of_bpfree, **others}.items(), incomplete)


def rulesets(incomplete: str) -> Iterator[Offer]:
    """Names of rulesets."""
    yield from _starting(((name, lines[0]) for name, lines in catalogue.rulesets().items()), incomplete)


def suites(incomplete: str) -> Iterator[Offer]:
    """Names of suites."""
    yield from _starting({name: suite["title"] for name, suite in catalogue.suites().items()}.items(), incomplete)


def devices(incomplete: str) -> Iterator[Offer]:
    """The processor and the GPU."""
    yield from _starting([("cpu", ""), ("cuda", "")], incomplete)


def launchers(incomplete: str) -> Iterator[Offer]:
    """A cluster, and two ways to try its jobs here."""
    yield from _starting([("slurm", "an array of jobs"), ("local", "on this machine"), ("debug", "in this process")], incomplete)


def list_words(incomplete: str) -> Iterator[Offer]:
    """What ``bpfree list`` lists."""
    yield from _starting(((word, "") for word in ("rules", "nets", "datasets", "rulesets", "suites")), incomplete)


def list_names(ctx: typer.Context, incomplete: str) -> Iterator[Offer]:
    """What there is of the kind that stands before."""
    offers = {"nets": nets, "datasets": datasets, "rulesets": rulesets, "suites": suites}.get(ctx.params.get("what", ""), rules)
    yield from offers(incomplete)
