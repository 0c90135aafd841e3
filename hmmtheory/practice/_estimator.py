"""The head that a recommendation carries home: a scikit-learn pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmmtheory._bulk import joined, take
from hmmtheory._checks import FloatArray
from hmmtheory._linalg import singular_system
from hmmtheory.practice.features import Pool

#: Penalties among which the fitted head chooses, in units of the predicted one.
_GRID = np.logspace(-4, 4, 33)


def require_sklearn() -> None:
    """Raise where scikit-learn is missing or too old."""
    try:
        import sklearn.frozen  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "recommend needs scikit-learn 1.6 or later: pip install 'hmmtheory[practice]'"
        ) from error


def fresh_head(
    pool: Pool, order: str, size: int, ridge: float, features: Any, classes: bool, keep: bool
) -> Any:
    """Return the unfitted head; its choice of features does not depend on the rows it fits.

    It chooses its ridge again by leave-one-out, or with `keep` does not.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline

    variance = float(pool.x[:, :size].var(axis=0).sum())
    if variance == 0:
        return make_pipeline(DummyClassifier() if classes else DummyRegressor(strategy="mean"))
    penalties = _penalties(pool.x[:, :size], variance, ridge, keep)
    head = (RidgeClassifierCV if classes else RidgeCV)(alphas=penalties)
    if order != "variance":
        picked = pool.transform[:size].tolist()
        return make_pipeline(ColumnTransformer([("first", "passthrough", picked)]), head)
    mean, directions = pool.transform
    components = PCA(n_components=size)
    components.mean_, components.components_ = mean, directions[:, :size].T
    components.n_components_, components.n_features_in_ = size, mean.size
    names = list(getattr(features, "columns", []))
    if names and all(isinstance(name, str) for name in names):
        components.feature_names_in_ = np.array(names, dtype=object)
    _, seen, count = joined(pool.x[:, :size], take(pool.unlabelled, slice(size)))
    components.explained_variance_ = np.square(seen).sum(axis=0) / (count - 1)
    return make_pipeline(FrozenEstimator(components), head)


def _penalties(x: FloatArray, variance: float, ridge: float, keep: bool) -> FloatArray:
    """Return what the head may choose among; it takes no zero, but what is as good as zero."""
    if ridge == 0.0:
        least = np.square(singular_system(x, intercept=True)[1][-1])
        some = np.geomspace(1e-8 * least, _GRID[-1] * variance, 3 * _GRID.size)
        return some[:1] if keep else some
    centre = ridge if ridge < np.inf else variance
    near = _GRID if not keep else _GRID[-1:] if ridge == np.inf else np.ones(1)
    return np.asarray(centre * near)
