"""Colours: one for each arm everywhere, visible on their paper, and none with a second meaning."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import pytest

from bpfree import catalogue
from bpfree.report.labels import arm_label
from bpfree.report.palette import ARMS, COLOURS, OTHERS, USES, arm_colour, style_sheet

CSS = (files("bpfree.report") / "templates" / "page.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in CSS.split("prefers-color-scheme: dark"))
SCHEMES = (LIGHT, DARK)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_rule_of_the_package_has_a_colour_of_its_own() -> None:
    assert set(catalogue.rules()) <= set(ARMS)
    assert len({arm_colour(name) for name in catalogue.rules()}) == len(catalogue.rules())


def test_the_colour_follows_the_name_alone() -> None:
    assert COLOURS[arm_colour(arm_label("mono-forward", "schedule=staged"))] == ARMS["mono-forward (staged)"]
    assert COLOURS[arm_colour("my-rule")] == OTHERS[arm_colour("my-rule") - len(ARMS)]
    assert {COLOURS[arm_colour(f"rule-{k}")] for k in range(100)} == set(OTHERS), "all of them are used"


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_are_visible_and_have_one_meaning(scheme: int) -> None:
    arms, uses = ([pair[scheme] for pair in pairs] for pairs in (COLOURS, USES))
    names = SCHEMES[scheme]
    assert min(contrast(colour, names["paper"]) for colour in arms) >= 3, "as WCAG asks of graphics"
    others = [names[name] for name in ("good", "bad", "accent", "alert", "muted", "grid", "series-2")]
    everything = [*arms, *uses, *others]
    assert len(set(everything)) == len(everything)
    apart = min(distance(arm, names[word]) for arm, word in itertools.product(arms, ("good", "bad")))
    assert apart > 40, "no arm looks like a verdict"


def distance(one: str, other: str) -> float:
    """In the cube of 8-bit colours."""
    return sum((int(one[k : k + 2], 16) - int(other[k : k + 2], 16)) ** 2 for k in (1, 3, 5)) ** 0.5


def test_the_style_sheet_has_both_schemes() -> None:
    light, dark = style_sheet().split("@media screen and (prefers-color-scheme: dark)")
    assert f"--arm-1: {ARMS['mono-forward'][0]};" in light
    assert f"--arm-1: {ARMS['mono-forward'][1]};" in dark
