"""bpfree for scikit-learn: a classifier that goes into pipelines, grid searches and cross-validation.

>>> from sklearn.datasets import load_breast_cancer
>>> from bpfree.sklearn import BpfreeClassifier
>>> x, y = load_breast_cancer(return_X_y=True)
>>> classifier = BpfreeClassifier("mono-forward", hidden=(64,), lr=3e-3, random_state=0).fit(x, y)
>>> classifier.score(x, y) > 0.95
True
"""

from bpfree.sklearn.estimator import BpfreeClassifier
from bpfree.sklearn.tables import SparseInputWarning

__all__ = ["BpfreeClassifier", "SparseInputWarning"]
