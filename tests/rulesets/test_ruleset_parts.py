"""Ranges, splits and searches by value: what each says of a number at the border, and what it refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bpfree.errors import RulesetError
from bpfree.rulesets import ArmException, Range, Ruleset, load
from bpfree.rulesets.ranges import all_names, check_keys, ranges_of
from bpfree.rulesets.search import Grid, QuasiRandom, Sampler, Search, newest_25_full, tenth_at_most_25
from bpfree.rulesets.splits import Split, kind_of
from bpfree.rulesets.words import difference


class TestRange:
    WIDE = Range(low=1e-4, high=1.0)

    def test_places_are_logarithmic_and_stay_within_the_ends(self) -> None:
        assert [self.WIDE.at(place) for place in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1e-4, 1e-3, 1e-2, 1.0])
        assert (self.WIDE.at(-0.5), self.WIDE.at(1.5)) == (1e-4, 1.0)

    def test_the_edge_is_a_twentieth_of_the_logarithmic_range(self) -> None:
        """A twentieth of four decades is 0.2: below 10 ** -3.8 and above 10 ** -0.2."""
        assert [self.WIDE.at_edge(10**x) for x in (-4, -3.81, -3.79, -2, -0.21, -0.19, 0)] == [
            *(True, True, False, False, False, True, True)
        ]

    def test_the_low_end_is_below_the_high_one(self) -> None:
        for low in (1.0, 2.0):
            with pytest.raises(ValidationError, match=f"got {low:g} to 1"):
                Range(low=low, high=1.0)

    def test_the_more_special_key_has_the_last_word(self) -> None:
        ranges = [Range(low=1, high=10.0**k) for k in range(1, 6)]
        spaces = {
            "pepita:sign=plus": {"lr": ranges[4], "wd": None},
            "pepita": {"lr": ranges[3], "alpha": ranges[1]},
            "*:sign=plus": {"lr": ranges[2]},
            "*": {"lr": ranges[0], "wd": ranges[1]},
        }
        assert ranges_of(spaces, "foton", {}) == {"lr": ranges[0], "wd": ranges[1]}
        assert ranges_of(spaces, "foton", {"sign": "plus", "other": "x"}) == {"lr": ranges[2], "wd": ranges[1]}
        assert ranges_of(spaces, "pepita", {"sign": "minus"}) == {"alpha": ranges[1], "lr": ranges[3], "wd": ranges[1]}
        assert ranges_of(spaces, "pepita", {"sign": "plus"}) == {"alpha": ranges[1], "lr": ranges[4]}
        assert list(ranges_of(spaces, "pepita", {})) == ["alpha", "lr", "wd"]
        assert all_names({"*": {"b": ranges[0], "c": None}, "x": {"a": ranges[0]}}) == ("a", "b")

    def test_keys_that_cannot_be_read(self) -> None:
        check_keys({"*": {}, "pepita": {}, "pepita:sign=plus:optimiser=sgd": {}})
        for key in ("", ":sign=plus", "pepita:", "pepita:sign", "pepita:=plus", "pepita:sign=", "pepita:sign=plus:x"):
            with pytest.raises(RulesetError, match="cannot read the key"):
                check_keys({key: {}})


class TestSplit:
    def test_a_share_is_rounded_and_a_number_is_itself(self) -> None:
        share = Split(kind="random", validation=0.1)
        assert [share.n_validation(n) for n in (1, 14, 16, 50_000)] == [1, 1, 2, 5000]
        assert Split(kind="last", validation=10_000).n_validation(60_000) == 10_000
        assert [Split(kind=kind, validation=7).is_drawn for kind in ("random", "last")] == [True, False]

    def test_words(self) -> None:
        assert str(Split(kind="stratified", validation=0.2, test=0.2)) == "60/20/20 stratified"
        assert str(Split(kind="random", validation=0.1)) == "a random 10 % of training validate, official test"
        assert str(Split(kind="last", validation=10_000)) == "the last 10,000 of training validate, official test"

    @pytest.mark.parametrize(
        "values",
        [
            {"kind": "random", "validation": 1.0},
            {"kind": "random", "validation": 0.1, "test": 0.2},
            {"kind": "stratified", "validation": 0.2},
            {"kind": "stratified", "validation": 100, "test": 0.2},
            {"kind": "stratified", "validation": 0.8, "test": 0.2},
        ],
    )
    def test_what_cannot_be_done_is_refused(self, values: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Split.model_validate(values)

    def test_nearly_all_may_validate(self) -> None:
        assert Split(kind="random", validation=0.99).n_validation(1000) == 990
        assert str(Split(kind="stratified", validation=0.7, test=0.2)) == "10/70/20 stratified"

    def test_the_entry_of_a_data_set(self) -> None:
        assert [kind_of(name) for name in ("mnist", "mnist[10000]", "blobs:7", "my.npz", "MY.NPZ")] == [
            *("mnist", "mnist", "blobs", "arrays", "arrays")
        ]


class TestSearch:
    def test_a_trial_of_several_studies_is_a_run(self) -> None:
        assert Search(studies=2, trials=1).studies == 2
        for changes in ({"trials": 0}, {"passes_per_trial": 5}, {"train_examples": 100}):
            values = {"trials": 3} | changes
            assert Search(studies=1, **values).trials == values["trials"]
            with pytest.raises(ValidationError, match=r"search.studies is 2.*leave passes_per_trial and train_examples empty"):
                Search(studies=2, **values)

    def test_optunas_defaults_of_version_4(self) -> None:
        assert [tenth_at_most_25(n) for n in (1, 10, 11, 250, 251, 1000)] == [1, 1, 2, 25, 25, 25]
        assert newest_25_full(3).tolist() == newest_25_full(25)[:3].tolist() == [1.0, 1.0, 1.0]
        assert newest_25_full(28).tolist() == pytest.approx([1 / 28, (1 / 28 + 1) / 2, 1.0] + 25 * [1.0])
        assert (len(newest_25_full(24)), len(newest_25_full(26)), newest_25_full(26)[0]) == (24, 26, pytest.approx(1 / 26))

    def test_arguments_of_the_sampler(self) -> None:
        arguments = Sampler(n_startup_trials=3).arguments()
        assert (arguments.pop("gamma")(20), arguments.pop("weights")(2).tolist()) == (2, [1.0, 1.0])
        assert arguments == {
            "n_startup_trials": 3, "n_ei_candidates": 24, "prior_weight": 1.0, "consider_magic_clip": True,
            "consider_endpoints": False, "multivariate": False, "group": False, "constant_liar": False,
            "warn_independent_sampling": False,
        }  # fmt: skip
        assert QuasiRandom().model_dump() == {"name": "qmc", "sequence": "sobol", "scramble": True}
        assert Grid().model_dump() == {"name": "grid"}

    def test_places_of_a_grid(self) -> None:
        assert [Grid.place(trial, 5) for trial in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
        assert [Grid.place(trial, 3) for trial in range(3)] == [0.0, 0.5, 1.0]
        assert Grid.place(0, 1) == 0.5

    def test_the_points_of_a_grid_are_no_luck_of_a_study(self) -> None:
        assert Search(trials=3, sampler={"name": "grid"}).sampler == Grid()
        with pytest.raises(ValidationError, match=r"search.studies is 2, but the points of a grid are the same in every study"):
            Search(studies=2, trials=3, sampler={"name": "grid"})


class TestDefaults:
    """What a ruleset that names the least stands for: a changed default changes results that nobody sees."""

    LEAST = Ruleset.model_validate(
        {
            "name": "least", "batch_size": 1, "stop": {"metric": "validation-loss", "patience": None},
            "budget": {"max_passes": 7}, "search": {"trials": 0},
        }
    )  # fmt: skip

    def test_by_value(self) -> None:
        values = self.LEAST.model_dump(exclude={"splits": True, "search": {"spaces"}})
        assert values == {
            "schema_version": 2, "name": "least", "version": 1, "title": "", "description": "", "only_for": "any",
            "comparable": True,
            "stop": {"metric": "validation-loss", "patience": None, "min_delta": 0.0, "restore_best": True},
            "budget": {"max_passes": 7, "per": "run", "max_hours": None, "passes_by_dataset": {}},
            "search": {
                "studies": 1, "trials": 0, "passes_per_trial": None, "train_examples": None,
                "objective": "best-validation-accuracy", "sampler": {"name": "qmc", "sequence": "sobol", "scramble": True},
                "pruner": "none",
            },
            "batch_size": 1, "lr_schedule": "constant", "readout": "as-the-arm-says", "precision": "float32",
            "augmentation": "none", "class_weight": "none", "train_examples": None, "scale": 1.0, "equivalence_margin": 0.0025,
            "energy_equivalence_margin": 0.05, "exceptions": (),
            "plan": {
                "seeds": (0, 1, 2, 3, 4), "split_seeds": (0,), "control": False, "datasets": (), "nets": (), "arms": (),
                "tier": "eager", "device": None, "target": None,
            },
        }  # fmt: skip
        assert self.LEAST.splits == load("uniform").splits
        assert self.LEAST.search.spaces == load("uniform").search.spaces

    def test_claims_need_five_studies_or_no_search(self) -> None:
        assert self.LEAST.claims
        assert not self.LEAST.with_changes(trials=1).claims
        assert [load("claim").with_changes(studies=n).claims for n in (4, 5, 6)] == [False, True, True]
        assert not self.LEAST.with_changes(scale=0.5).claims

    def test_examples_are_rounded_and_at_least_one(self) -> None:
        part = self.LEAST.with_changes(train_examples=107)
        assert [self.LEAST.examples_for(n) for n in (1, 50)] == [1, 50]
        assert [part.examples_for(n) for n in (106, 107, 108)] == [106, 107, 107]
        assert [part.with_changes(scale=scale).examples_for(1000) for scale in (0.5, 0.1, 0.001)] == [54, 11, 1]

    def test_caps_and_targets_of_parts_of_a_data_set(self) -> None:
        rules = self.LEAST.with_changes({"budget.passes_by_dataset": {"mnist": 3}, "plan.target": {"mnist": 0.9}})
        assert [rules.budget.passes_for(name) for name in ("mnist", "mnist[100]", "digits", None)] == [3, 3, 7, 7]
        assert [rules.plan.target_for(name) for name in ("mnist", "mnist[100]", "digits")] == [0.9, 0.9, None]
        assert self.LEAST.with_changes({"plan.target": 0.5}).plan.target_for("digits") == 0.5

    def test_where_an_exception_holds(self) -> None:
        plain = {"arms": ("foton:memory=low",), "field": "stop.patience", "value": 3, "why": "a reason"}
        everywhere = ArmException.model_validate(plain)
        assert everywhere.applies("foton:memory=low:lr=1", None, None, None)
        assert not everywhere.applies("foton", None, None, None)
        assert not everywhere.applies("pepita:memory=low", None, None, None)
        place = {"datasets": ("mnist",), "nets": ("mlp:1x2",), "phases": ("last",)}
        for key in place:
            narrow = ArmException.model_validate(plain | {key: place[key]})
            there = {name: values[0] for name, values in place.items()}
            arguments = ("foton:memory=low", there["datasets"], there["nets"], there["phases"])
            assert narrow.applies(*arguments)
            assert not narrow.applies("foton:memory=low", None, None, None)
            assert not narrow.applies("foton:memory=low", "digits", "mlp:2x2", "first")

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("patiense", "did you mean 'patience'?"),
            (30 * "q" + ".patiense", "did you mean 'patience'?"),  # the right word in the wrong place
            ("qqqqqqqq", "known: schema_version, name,"),
        ],
    )
    def test_an_unknown_key_gets_the_nearest(self, key: str, words: str) -> None:
        with pytest.raises(RulesetError) as caught:
            self.LEAST.with_changes({key: 1})
        assert words in str(caught.value)

    def test_seven_differences_are_named_and_of_eight_six(self) -> None:
        changes = {
            "batch_size": 2, "scale": 0.5, "trials": 3, "max_passes": 8, "min_delta": 0.1, "restore_best": False,
            "equivalence_margin": 0.1, "train_examples": 9,
        }  # fmt: skip
        seven = self.LEAST.with_changes(dict(list(changes.items())[:7]))
        assert difference(self.LEAST, self.LEAST) == []
        assert len(difference(self.LEAST, seven)) == 7
        assert "batch_size: 1 against 2" in difference(self.LEAST, seven)
        eight = difference(self.LEAST, self.LEAST.with_changes(changes))
        assert (len(eight), eight[-1]) == (7, "and 2 rules more")
        assert all(" against " in words for words in eight[:-1])
