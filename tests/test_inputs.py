"""What people pass as features and labels: taken as it is meant, or refused with the reason."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from hmmtheory import diagnose, predict_risk

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 3))
Y = X[:, 0] + RNG.standard_normal(120)
FRAME = pd.DataFrame(
    {
        "a": X[:, 0],
        "b": X[:, 1] > 0,
        "c": pd.array((X[:, 2] * 10).astype(int), dtype="Int64"),
        "d": pd.array(X[:, 1], dtype="Float64"),
    }
)
PLAIN = np.column_stack([X[:, 0], X[:, 1] > 0, (X[:, 2] * 10).astype(int), X[:, 1]])


def risk(features: Any = X, responses: Any = Y, **options: Any) -> np.ndarray:
    return predict_risk(features, responses, **{"n_samples": 30, "sizes": [2], **options}).risk


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
def test_columns_of_several_number_types_are_numbers(backend: Any) -> None:
    frame = FRAME if backend is None else FRAME.convert_dtypes(dtype_backend=backend)
    assert_allclose(risk(frame), risk(PLAIN), rtol=1e-12)


def test_unlabelled_columns_are_matched_by_name() -> None:
    more = pd.DataFrame(RNG.standard_normal((40, 4)) * [1, 2, 3, 4], columns=list("abcd"))
    assert_allclose(risk(FRAME, unlabelled=more[list("dbca")]), risk(FRAME, unlabelled=more))
    with pytest.raises(ValueError, match=r"unlabelled must .*missing \['d'\], too many \['e'\]"):
        risk(FRAME, unlabelled=more.rename(columns={"d": "e"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": np.ma.masked_less(X, -1)}, "features must have no missing values; got"),
        ({"features": sparse.csr_array(X)}, r"features must be dense; .*toarray"),
        ({"features": FRAME.assign(t="x")}, "features must hold real numbers; got column 't'"),
        ({"features": pd.concat([FRAME, FRAME], axis=1)}, "features must have columns of diff"),
        ({"features": X.astype(complex)}, "features must hold real numbers"),
        ({"features": FRAME.assign(a=pd.NA)}, "features must"),
        ({"responses": np.array(["a", "b"] * 60)}, "responses must .*classes must be encoded"),
        ({"responses": pd.Series(pd.Categorical(["a", "b"] * 60))}, "responses .*category"),
        ({"n_samples": 10**400}, "n_samples must be an integer"),
        ({"ridge": 10**400}, "ridge must be a number"),
    ],
)
def test_what_is_no_number_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        risk(**options)


def test_a_mask_that_hides_nothing_is_no_matter() -> None:
    assert_allclose(risk(np.ma.array(X)), risk(X))


def test_few_distinct_rows_can_be_diagnosed() -> None:
    few = np.repeat(RNG.standard_normal((12, 20)), 5, axis=0)
    found = diagnose(few, RNG.standard_normal(60), rng=0)
    assert found.rank == 11
    assert found.repeated_rows == pytest.approx(1.0)
    assert 0 <= found.dependent_rows <= 1


def test_constant_labels_have_no_ratio_of_risks() -> None:
    assert np.isfinite(diagnose(X, np.ones(120), rng=0).scale_effect)
