"""The digest changes with every rule, and with nothing else."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfree import rulesets
from bpfree.rulesets.digest import hashed_fields
from bpfree.rulesets.schema import UNHASHED, Rules
from bpfree.rulesets.search import Sampler

QUICK = rulesets.load("quick")
LONG = QUICK.with_changes({"search.passes_per_trial": None})  # trials as long as a run
TPE = QUICK.with_changes({"search.sampler": {"name": "tpe"}})

# One other valid value for every rule; a field without an entry fails `test_every_field_is_covered`.
OTHER = {
    "version": 3,
    "comparable": False,
    "stop.metric": "validation-loss",
    "stop.patience": 11,
    "stop.min_delta": 1e-6,
    "stop.restore_best": False,
    "budget.max_passes": 41,
    "budget.per": "phase",
    "budget.max_hours": 1.0,
    "budget.passes_by_dataset": {"digits": 3, "mnist": 40},
    "search.trials": 9,
    "search.passes_per_trial": 16,
    "search.train_examples": 1000,
    "search.studies": 2,
    "search.spaces": "published",
    "search.sampler": {"name": "tpe"},
    "search.sampler.n_startup_trials": 5,
    "search.sampler.n_ei_candidates": 25,
    "search.sampler.prior_weight": 0.5,
    "search.sampler.consider_magic_clip": False,
    "search.sampler.consider_endpoints": True,
    "search.sampler.multivariate": True,
    "search.sampler.constant_liar": True,
    "search.sampler.warn_independent_sampling": True,
    "batch_size": 65,
    "lr_schedule": "cosine",
    "readout": "best-prefix-on-validation",
    "precision": "bfloat16",
    "augmentation": "crop-flip",
    "class_weight": "balanced",
    "splits": {"digits": {"kind": "stratified", "validation": 0.25, "test": 0.25}},
    "train_examples": 1000,
    "scale": 0.5,
    "equivalence_margin": 0.005,
    "energy_equivalence_margin": 0.1,
    "exceptions": [{"arms": ["backprop"], "field": "batch_size", "value": 32, "why": "a test"}],
}
ONE_VALUE_ONLY = {  # hashed all the same, see test_single_valued_fields_are_hashed
    *("schema_version", "search.objective", "search.pruner", "search.sampler.name"),
    *("search.sampler.gamma", "search.sampler.weights", "search.sampler.sequence", "search.sampler.scramble"),
}
WITH_ANOTHER = {"search.sampler.group": {"search.sampler.group": True, "search.sampler.multivariate": True}}
NOT_HASHED = {
    "name": "other",
    "title": "other",
    "description": "other",
    "only_for": "reproduce",
    "plan.seeds": (7,),
    "plan.split_seeds": (3,),
    "plan.control": True,
    "plan.datasets": ("mnist",),
    "plan.nets": ("mlp:8",),
    "plan.arms": ("backprop",),
    "plan.tier": "graph",
    "plan.device": "cuda",
    "plan.target": 0.95,
}


def leaves(model, prefix=""):
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name
            kinds = [kind for kind in get_args(field.annotation) if hasattr(kind, "model_fields")]
            for kind in kinds if name == "sampler" else ():
                yield from leaves(kind, f"{prefix}{name}.")


def base(key):
    """A ruleset that has the key."""
    return TPE if key.startswith("search.sampler.") else LONG if key == "search.studies" else QUICK


def test_every_field_is_covered():
    assert set(leaves(Rules)) == set(OTHER) | ONE_VALUE_ONLY | set(WITH_ANOTHER) | set(NOT_HASHED)


@pytest.mark.parametrize("key", OTHER)
def test_a_changed_rule_changes_the_digest(key):
    changed = base(key).with_changes({key: OTHER[key]})
    assert rulesets.digest(changed) != rulesets.digest(base(key))
    lines = rulesets.difference(base(key), changed)
    assert any(key in line or line.startswith("and ") for line in lines)
    assert changed.name == "quick+changed"


def test_group_changes_the_digest_beyond_multivariate():
    both = TPE.with_changes(WITH_ANOTHER["search.sampler.group"])
    assert rulesets.digest(both) != rulesets.digest(TPE.with_changes({"search.sampler.multivariate": True}))


@pytest.mark.parametrize("key", sorted(ONE_VALUE_ONLY))
def test_single_valued_fields_are_hashed(key):
    fields = rulesets.hashed_fields(QUICK if key.endswith(("sequence", "scramble")) else TPE)
    for part in key.split("."):
        fields = fields[part]
    assert fields


@pytest.mark.parametrize("key", NOT_HASHED)
def test_what_is_not_a_rule_leaves_the_digest(key):
    changed = QUICK.with_changes({key: NOT_HASHED[key]})
    assert changed != QUICK
    assert rulesets.digest(changed) == rulesets.digest(QUICK)
    assert rulesets.difference(QUICK, changed) == []
    assert not changed.name.endswith("+changed")


def test_all_digests_of_single_changes_differ():
    digests = {rulesets.digest(base(key).with_changes({key: value})) for key, value in OTHER.items()}
    assert len(digests) == len(OTHER)


def test_unhashed_names_are_fields():
    assert set(Rules.model_fields) >= UNHASHED


@settings(deadline=None)
@given(st.randoms())
def test_the_order_of_keys_does_not_matter(random):
    def shuffled(value):
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    again = rulesets.Ruleset.model_validate(shuffled(QUICK.model_dump()))
    assert rulesets.digest(again) == rulesets.digest(QUICK)


def test_the_same_in_another_process():
    """Hash randomisation must not matter: the other process has another seed for it."""
    code = "from bpfree import rulesets; print(rulesets.digest(rulesets.load('legacy-2025')))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert seen == {rulesets.digest(rulesets.load("legacy-2025"))}


def test_equal_numbers_have_equal_digests():
    assert rulesets.digest(QUICK.with_changes(min_delta=0)) == rulesets.digest(QUICK.with_changes(min_delta=-0.0))
    assert rulesets.digest(QUICK.with_changes(min_delta="1e-4")) == rulesets.digest(QUICK.with_changes(min_delta=0.0001))


def test_short_digest_is_the_start():
    assert rulesets.digest(QUICK).startswith(rulesets.short_digest(QUICK))
    assert len(rulesets.short_digest(QUICK)) == 16
    assert len(rulesets.digest(QUICK)) == 64


def test_hashed_fields_are_plain_json():
    fields = rulesets.hashed_fields(rulesets.load("legacy-2025"))
    assert json.loads(json.dumps(fields)) == fields


def test_sampler_arguments_are_those_of_optuna():
    """Complete but for the seed and what has no meaning here; the callables equal Optuna's defaults."""
    optuna = pytest.importorskip("optuna")
    tpe = pytest.importorskip("optuna.samplers._tpe.sampler")
    import inspect
    import warnings

    arguments = Sampler().arguments()
    known = set(inspect.signature(optuna.samplers.TPESampler.__init__).parameters)
    assert known - set(arguments) <= {"self", "seed", "consider_prior", "constraints_func"}
    assert set(arguments) <= known
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.samplers.TPESampler(seed=0, **arguments)
    for n in (0, 1, 9, 10, 24, 25, 26, 100, 400):
        assert arguments["gamma"](n) == tpe.default_gamma(n)
        assert arguments["weights"](n).tolist() == tpe.default_weights(n).tolist()


@pytest.mark.parametrize(
    "place", sorted(Path(__file__).parents[2].glob("benchmarks/results/*/ruleset.yaml")), ids=lambda p: p.parent.name
)
def test_rulesets_of_results_load_with_the_digest_that_they_had(place):
    ruleset = rulesets.load(place)
    assert place.read_text().splitlines()[0] == f"# bpfree ruleset, digest {rulesets.short_digest(ruleset)}"
    if ruleset.schema_version == 1:
        assert ruleset.search.spaces is None
        assert not ruleset.claims


def test_a_narrower_range_for_one_rule_is_another_ruleset():
    spaces = QUICK.model_dump()["search"]["spaces"]
    narrowed = {**spaces, "backprop": {"lr": {"low": 1e-5, "high": 1e-4}}}
    assert rulesets.digest(QUICK.with_changes({"search.spaces": narrowed})) != rulesets.digest(QUICK)


def test_only_studies_or_fixed_hyper_parameters_carry_claims():
    claim = rulesets.load("claim")
    assert claim.claims
    assert not claim.with_changes(studies=4).claims
    assert not claim.scaled(0.5).claims
    assert QUICK.with_changes(trials=0).claims
    assert not any(rulesets.load(name).claims for name in rulesets.names() if name != "claim")


def test_a_field_that_was_added_later_is_hashed_only_where_it_is_used():
    """Rulesets from before it keep their digest; a limit on the examples of a trial changes it."""
    quick = rulesets.load("quick")
    plain = quick.with_changes({"search.train_examples": None})
    limited = quick.with_changes({"search.train_examples": 500})
    assert "train_examples" not in rulesets.hashed_fields(plain)["search"]
    assert rulesets.hashed_fields(limited)["search"]["train_examples"] == 500
    assert rulesets.digest(plain) != rulesets.digest(limited)


def test_letters_beyond_ascii_are_escaped_before_they_are_hashed() -> None:
    other = QUICK.with_changes({"augmentation": {"default": "none", "zürich": "none"}})
    text = json.dumps(hashed_fields(other), sort_keys=True, separators=(",", ":"))
    assert r'"z\u00fcrich"' in text
    assert rulesets.digest(other) == hashlib.sha256(text.encode("ascii")).hexdigest()
