"""What people pass as features and labels: taken as it is meant, or refused with the reason."""

import datetime
import subprocess
import sys
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from hmmtheory import (
    Population,
    diagnose,
    predict_accuracy,
    predict_risk,
    recommend,
    resample_risk_curve,
)
from hmmtheory._checks import as_array, as_count, as_number, as_option, as_rows, as_unlabelled

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
NAMED = pd.DataFrame(X, columns=["a", "b", "c"])


class Tensor:
    """What torch's tensors do: some become arrays, some refuse with an error of their own."""

    def __init__(self, value: Any, error: Exception | None = None) -> None:
        self.value, self.error = np.asarray(value), error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.error:
            raise self.error
        return self.value

    def detach(self) -> "Tensor":
        return self


def risk(features: Any = X, responses: Any = Y, **options: Any) -> np.ndarray:
    return predict_risk(features, responses, **{"n_samples": 30, "sizes": [2], **options}).risk


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
def test_columns_of_several_number_types_are_numbers(backend: Any) -> None:
    frame = FRAME if backend is None else FRAME.convert_dtypes(dtype_backend=backend)
    assert_array_equal(as_array("features", frame), PLAIN)  # same bits: float64 from the start
    assert_allclose(risk(frame), risk(PLAIN), rtol=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        X.tolist(),
        tuple(map(tuple, X)),
        [pd.Series(row) for row in X],
        X.astype(object),
        X.astype(">f8"),
        X.astype(np.longdouble),
        np.asfortranarray(X),
        np.ma.array(X),
        np.ma.array(X, mask=np.zeros_like(X, dtype=bool)),
        memoryview(X),  # type: ignore[arg-type] # typed as no buffer before Python 3.12
        Tensor(X),
        NAMED,
        NAMED.astype(object),
        NAMED.astype(pd.SparseDtype("float")),
        pd.DataFrame(X, columns=pd.MultiIndex.from_product([["a"], [1, 2, 3]])),
        pa.table({name: X[:, j] for j, name in enumerate("abc")}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_are_taken_from_whatever_holds_them(value: Any) -> None:
    # The same bits: conversions between these types are exact.
    assert_array_equal(as_array("features", value), X)  # same bits: float64 from the start


def test_each_type_of_number_is_converted_to_its_value() -> None:
    for dtype in (bool, np.int8, np.uint64, np.float16, np.float32):
        values = (X > 0).astype(dtype)
        assert_array_equal(as_array("x", values), (X > 0) * 1.0)
    halves: list[Any] = [Decimal("0.5"), Fraction(1, 2), np.float16(0.5), 0.5, True]
    assert_array_equal(as_array("x", halves), [0.5, 0.5, 0.5, 0.5, 1.0])
    decimals = pd.Series([Decimal("0.5")] * 2, dtype=pd.ArrowDtype(pa.decimal128(5, 2)))
    assert_array_equal(as_array("x", decimals), [0.5, 0.5])
    assert_array_equal(as_array("x", pd.array([1, 2], dtype="Int64")), [1.0, 2.0])
    assert_array_equal(as_array("x", pd.Index([3, 4])), [3.0, 4.0])
    # Beyond 2**53 to the nearest float64, as NumPy does.
    assert as_array("x", [2**60 + 1, 10**30]).tolist() == [2.0**60, 1e30]


HOLES = X.copy()
HOLES[3, 1], HOLES[4, 0], HOLES[5, 0] = np.nan, np.inf, np.nan
MASKED = np.ma.array(X, mask=np.arange(360).reshape(120, 3) % 180 == 7)
CUDA = TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")


def column(values: Any, dtype: Any = None) -> pd.DataFrame:
    return pd.DataFrame({"t": pd.Series(values, dtype=dtype)})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "must hold real numbers in a rectangular array; got NoneType"),
        (X + 0j, "must hold .* got ndarray: dtype complex128"),
        (X.astype("M8[s]"), "must hold .* dtype datetime64"),
        (X.astype("m8[s]"), "must hold .* dtype timedelta64"),
        (np.zeros(3, dtype=[("a", "f8")]), r"must hold .* dtype \[\('a'"),
        ([["1", "2"]] * 3, r"must hold .* text; classes must be encoded.*one-hot"),
        (np.array([[1.0, "2"]] * 3, dtype=object), "must hold .* text, such as '2'; classes"),
        ([[1.0], [1.0, 2.0]], "must hold .* rectangular array; got list: .*inhomogeneous"),
        ([[object()]] * 3, "must hold .* not 'object'"),
        ([[10**400]] * 3, "must hold .* too large"),
        ([[10**5000]] * 3, "must hold .* too large"),
        ({"a": 1}, "must hold .* got dict"),
        ((row for row in X), "must hold .* got generator"),
        (HOLES, "must be finite; got 2 NaN and 1 infinite values, the first in row 3, column 1"),
        (pd.DataFrame(HOLES, columns=list("abc")), "must be finite; .* in row 3, column 'b'"),
        (HOLES[:, 1], "must be finite; got 1 NaN and 0 infinite .* at position 3"),
        ([[1.0], [None]], "must be finite; got 1 NaN"),
        (MASKED, "must have no missing values; got 2 masked ones"),
        (list(MASKED), "must have no missing values; got 2 masked ones"),
        (sparse.csr_array(X), r"must be dense; .*toarray\(\)"),
        (sparse.coo_matrix(X), r"must be dense; .*toarray\(\)"),
        (Tensor(X, CUDA), r"must hold .* Use Tensor.cpu\(\) \(pass .detach\(\).cpu\(\)"),
        (Tensor(X, RuntimeError("requires grad")), r"must hold .* requires grad \(pass .detach"),
        (column([1, pd.NA, 3], "Int64"), "must be finite; got 1 NaN .* row 1, column 't'"),
        (column([1, None, 3], "int64[pyarrow]"), "must be finite; .* row 1, column 't'"),
        (column(["x", "y"], "string"), "must .* column 't' of dtype string .*text, such as 'x'"),
        (column(["x", 1.0], object), "must .* column 't' of dtype object .*text, such as 'x'"),
        (column([1, 2, 1], "category"), "must .* column 't' of dtype category .*encoded"),
        (column(pd.date_range("2020", periods=3)), "must .* column 't' of dtype datetime64"),
        (column(pd.to_timedelta([1, 2], unit="s")), "must .* column 't' of dtype timedelta64"),
        (column(pd.period_range("2020", periods=3)), "must .* column 't' of dtype period"),
        (column([1j, 2j]), "must .* column 't' of dtype complex128"),
        (
            column([datetime.date(2020, 1, 1)], pd.ArrowDtype(pa.date32())),
            "must .* column 't' of dtype date32",
        ),
        (pd.concat([FRAME, FRAME], axis=1), "must have columns of different names; got 'a' twice"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_with_the_place(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^features {message}"):
        as_array("features", value)


def test_another_librarys_own_words_are_kept() -> None:
    with pytest.raises(ValueError, match="features") as caught:
        risk(Tensor(X, CUDA))
    assert caught.value.__cause__ is CUDA


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": X[:, 0]}, r"^features must have shape .* got \(120,\)"),
        ({"features": X[None]}, r"^features must have shape .* got \(1, 120, 3\)"),
        ({"features": 1.0}, r"^features must have shape .* got \(\)"),
        ({"features": []}, r"^features must have shape"),
        ({"features": X[:1], "responses": Y[:1]}, "^features must have at least 2 rows; got 1"),
        ({"features": NAMED["a"]}, r"^features must have shape .* got \(120,\)"),
        ({"responses": X[:, :0]}, "^responses must have at least one column"),
        ({"responses": Y[:-1]}, r"^responses must have shape \(120, any\); got \(119, 1\)"),
        ({"responses": np.array(["a", "b"] * 60)}, "^responses must .*classes must be encoded"),
        ({"responses": pd.Series(["a", "b"] * 60)}, "^responses .*classes must be encoded"),
        ({"responses": pd.Series(pd.Categorical(["a", "b"] * 60))}, "^responses .*category"),
        ({"features": X * 1e160}, "^features must have columns between 1e-75 and 1e.75"),
        ({"features": X * [1, 1, 1e-160]}, "^features .* change their unit; got column 2"),
        ({"features": NAMED * [1, 1, 1e200]}, "^features .* got column 'c' of size"),
        ({"responses": Y * 1e-200}, "^responses must have columns between"),
        ({"n_samples": 10**400}, "^n_samples must be an integer"),
        ({"n_samples": 2**63}, r"^n_samples must be an integer .* below 2\*\*63"),
        ({"ridge": 10**400}, "^ridge must be a number"),
        ({"ridge": 10**5000}, "^ridge must be a number .* an object of type int"),
        ({"order": "alphabet"}, "^order must be one of 'given', 'variance', 'random'; got 'alph"),
        ({"rows": ["gaussian"]}, r"^rows must be one of .*; got \['gaussian'\]"),
        ({"sizes": np.ma.array([1, 2], mask=[False, True])}, "^sizes must have no missing values"),
        ({"sizes": [1, 4]}, "^sizes must lie between 0 and the number of features, 3; got 1 to 4"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        risk(**options)


@pytest.mark.parametrize("covariance", [np.diag([1e160, 1.0]), np.diag([1e-160, 1.0])])
def test_a_variance_whose_square_is_no_number_is_refused(covariance: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^feature_covariance must have variances between"):
        Population(covariance, [[0.0], [0.0]], [[1.0]])


@pytest.mark.parametrize(
    "value",
    [True, np.True_, np.array(True), "1", b"1", None, 1j, np.complex64(1), [1], np.ones(1),
     pd.NA, np.ma.masked, np.datetime64("2020"), np.timedelta64(3), object(), float("nan"),
     Tensor(1.0, CUDA)],
)  # fmt: skip
def test_what_is_not_one_number_is_no_number_and_no_count(value: Any) -> None:
    for check in (as_number, as_count):
        with pytest.raises(ValueError, match=r"^it must be an? (number|integer).*; got "):
            check("it", value)


def test_numbers_of_any_type_are_one() -> None:
    for value in (2, 2.0, np.float16(2), np.int8(2), np.array(2), Decimal(2), Fraction(2)):
        assert as_number("it", value) == 2.0
    counts: list[Any] = [2, np.uint8(2), np.array(2), pd.array([2], dtype="Int64")[0]]
    for value in counts:
        assert as_count("it", value) == 2
    assert as_option("it", np.str_("a"), ("a", "b")) == "a"


def test_messages_stay_short() -> None:
    with pytest.raises(ValueError, match="must be True or False") as caught:
        predict_risk(X, Y, 30, intercept=X)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_unlabelled_columns_are_matched_by_name() -> None:
    more = pd.DataFrame(RNG.standard_normal((40, 4)) * [1, 2, 3, 4], columns=list("abcd"))
    assert_allclose(risk(FRAME, unlabelled=more[list("dbca")]), risk(FRAME, unlabelled=more))
    assert_array_equal(as_unlabelled(more[list("dbca")], FRAME), more)  # same bits: copies
    # An array has no names: by position.
    assert_array_equal(as_unlabelled(more.to_numpy(), FRAME), more)  # same bits: copies
    assert_array_equal(
        as_unlabelled(more[list("dbca")], PLAIN), more[list("dbca")]
    )  # same bits: copies
    assert as_unlabelled(None, FRAME).shape == (0, 4)
    with pytest.raises(ValueError, match=r"unlabelled must .*missing \['d'\], too many \['e'\]"):
        risk(FRAME, unlabelled=more.rename(columns={"d": "e"}))
    with pytest.raises(ValueError, match="unlabelled must have columns of different names"):
        risk(FRAME, unlabelled=pd.concat([more, more], axis=1))
    with pytest.raises(ValueError, match=r"unlabelled must have shape \(any, 4\); got"):
        risk(FRAME, unlabelled=X)


def classes(count: int) -> np.ndarray:
    return np.arange(120) % count


@pytest.mark.parametrize(
    "labels",
    [
        classes(3),
        classes(3).tolist(),
        classes(2) > 0,
        classes(20),
        classes(3).astype(object),
        pd.Series(classes(3), dtype="Int64"),
        pd.Series(classes(3), dtype="int64[pyarrow]"),
        pd.DataFrame({"a": classes(2) > 0}),
        np.column_stack([classes(3), classes(2)]),
    ],
)
def test_labels_that_look_like_classes_are_warned_of_once_at_the_callers_line(labels: Any) -> None:
    for call in (predict_risk, recommend, diagnose, resample_risk_curve):
        with pytest.warns(UserWarning, match=r"responses are whole .*one-hot.*as floats") as seen:
            call(X, labels, 30)
        assert [warning.filename for warning in seen] == [__file__]
    with pytest.warns(UserWarning, match="responses are whole") as seen:
        Population.from_samples(X, labels)
    assert [warning.filename for warning in seen] == [__file__]


@pytest.mark.parametrize(
    "labels",
    [
        classes(3).astype(float),
        classes(21),
        np.eye(3, dtype=int)[classes(3)],
        pd.get_dummies(classes(3)),
        np.ones(120, dtype=int),
        np.arange(120),
    ],
)
def test_labels_that_are_numbers_or_encoded_are_not_warned_of(labels: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_rows(X, labels)


def test_a_mask_that_hides_nothing_is_no_matter() -> None:
    assert_allclose(risk(np.ma.array(X)), risk(X))


def test_pandas_is_not_loaded_to_check_arrays() -> None:
    code = (
        "import sys; from hmmtheory._checks import as_rows\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] == 'pandas']\n"
        "for name in loaded: del sys.modules[name]\n"
        "as_rows([[1.0], [2.0]], [1.5, 2.5]); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_few_distinct_rows_can_be_diagnosed() -> None:
    few = np.repeat(RNG.standard_normal((12, 20)), 5, axis=0)
    found = diagnose(few, RNG.standard_normal(60), rng=0)
    assert found.rank == 11
    assert found.repeated_rows == pytest.approx(1.0)
    assert 0 <= found.dependent_rows <= 1


def test_an_output_that_does_not_vary_adds_nothing() -> None:
    both = diagnose(X, np.column_stack([Y, np.ones(120)]), rng=0)
    assert both.scale_effect == pytest.approx(diagnose(X, Y, rng=0).scale_effect)


def test_rows_in_another_order_are_refused() -> None:
    x = pd.DataFrame(X, columns=list("abc"), index=np.arange(len(X)) + 7)
    y = pd.Series(Y, index=x.index)
    expected = predict_risk(x, y, 30, [3]).risk[0]
    shuffled = y.sample(frac=1, random_state=0)
    with pytest.raises(
        ValueError, match=r"responses must .* take .loc.* same index in another order"
    ):
        predict_risk(x, shuffled, 30, [3])
    with pytest.raises(ValueError, match="classes must have the rows of features in the same"):
        predict_accuracy(x, (shuffled > 0).astype(str), 30)
    # Other indices say nothing, and no index is none.
    assert predict_risk(x, y.reset_index(drop=True), 30, [3]).risk[0] == expected
    assert predict_risk(x, shuffled.loc[x.index], 30, [3]).risk[0] == expected
