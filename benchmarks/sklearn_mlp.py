"""Is BpfreeClassifier as good as scikit-learn's MLPClassifier, and how much slower: equal hidden sizes, passes and batches.

    python benchmarks/sklearn_mlp.py [--folds 5] [--passes 60] [--rules mono-forward,backprop] [--search]

A pipeline with a scaler is cross-validated on breast-cancer and digits. Both train for the same number of passes, with the same
learning rate and batch size, and hold out the same share to choose the best pass (MLPClassifier: early_stopping, its patience
above the passes). Seconds are those of the processor, one thread, the folds of both in turn; what is loaded at the first call is
not counted. With ``--search``, a grid search over the learning rate (and, of BpfreeClassifier, over the rules) takes place within
each fold, and the seconds are those of one fit.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bpfree.sklearn import BpfreeClassifier

HIDDEN = (256, 256)
SETS = {"breast-cancer": load_breast_cancer, "digits": load_digits}


Candidates = dict[str, Callable[[int], Any]]


def estimators(rules: list[str], passes: int, lr: float, batch_size: int) -> Candidates:
    """By name, a function of the seed."""

    def mlp(seed: int) -> MLPClassifier:
        return MLPClassifier(
            HIDDEN,
            learning_rate_init=lr,
            batch_size=batch_size,
            alpha=0.0,
            max_iter=passes,
            early_stopping=True,
            validation_fraction=0.1,
            n_iter_no_change=passes + 1,
            random_state=seed,
        )

    def ours(rule: str) -> Callable[[int], BpfreeClassifier]:
        return lambda seed: BpfreeClassifier(
            rule,
            hidden=HIDDEN,
            lr=lr,
            batch_size=batch_size,
            max_passes=passes,
            patience=None,
            validation_fraction=0.1,
            random_state=seed,
        )

    return {"MLPClassifier": mlp, **{rule: ours(rule) for rule in rules}}


def search(name: str, x: np.ndarray, y: np.ndarray, candidates: Candidates, rules: list[str], folds: int) -> None:
    """Grid searches of three folds within each fold, over learning rate and rule, and their lines of the table."""
    rates = [1e-3, 3e-3]
    grids = {
        "MLPClassifier": {"mlpclassifier__learning_rate_init": rates},
        "BpfreeClassifier": {"bpfreeclassifier__lr": rates, "bpfreeclassifier__rule": rules},
    }
    scores: dict[str, list[float]] = {each: [] for each in grids}
    seconds = dict.fromkeys(grids, 0.0)
    for seed, (train, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=0).split(x, y)):
        for each, grid in grids.items():
            first = candidates["MLPClassifier" if each == "MLPClassifier" else rules[0]]
            start_s = time.process_time()
            chosen = GridSearchCV(make_pipeline(StandardScaler(), first(seed)), grid, cv=3).fit(x[train], y[train])
            seconds[each] += (time.process_time() - start_s) / (3 * len(chosen.cv_results_["params"]) + 1)
            scores[each].append(chosen.score(x[test], y[test]))
    for each in grids:
        ratio = seconds[each] / seconds["MLPClassifier"]
        say(f"{name:<14} {each:<16} {100 * float(np.mean(scores[each])):>12.2f} {seconds[each] / folds:>8.2f} {ratio:>6.2f}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Cross-validate both, fold by fold, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=60)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rules", default="mono-forward,backprop")
    parser.add_argument("--search", action="store_true", help="a grid search in place of the cross-validation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rules = options.rules.split(",")
    candidates = estimators(rules, options.passes, options.lr, options.batch_size)
    say(f"{'data':<14} {'estimator':<16} {'accuracy, %':>12} {'seconds':>8} {'ratio':>6}")
    for name, load in SETS.items():
        x, y = load(return_X_y=True)
        accuracies: dict[str, list[float]] = {each: [] for each in candidates}
        seconds = dict.fromkeys(candidates, 0.0)
        for make in candidates.values():  # what is loaded at first use
            make_pipeline(StandardScaler(), make(0)).fit(x[:60], y[:60])
        if options.search:
            search(name, x, y, candidates, rules, options.folds)
            continue
        for seed, (train, test) in enumerate(StratifiedKFold(options.folds, shuffle=True, random_state=0).split(x, y)):
            for each, make in candidates.items():
                pipeline = make_pipeline(StandardScaler(), make(seed))
                start_s = time.process_time()
                pipeline.fit(x[train], y[train])
                seconds[each] += time.process_time() - start_s
                accuracies[each].append(pipeline.score(x[test], y[test]))
        for each in candidates:
            ratio = seconds[each] / seconds["MLPClassifier"]
            mean = 100 * float(np.mean(accuracies[each]))
            say(f"{name:<14} {each:<16} {mean:>12.2f} {seconds[each]:>8.2f} {ratio:>6.2f}")


if __name__ == "__main__":
    main()
