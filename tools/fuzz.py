"""Call every public function with hostile input and read what comes back.

    python tools/fuzz.py [--count N] [--seconds S] [--seed K] [--only NAME] [--json FILE]

Each input takes a call that is right (tests/calls.py) and replaces one argument, or two, by a value
of the catalogue below: another container or type for the same numbers, which must give the same
answer, or something hostile. What may come back is an answer without a NaN, or a refusal of this
package (ValueError or TypeError) that names an argument and says what came. All else is a finding:
another library's error or warning, a NaN, another answer for the same numbers, a hang. A finding
makes the exit status non-zero; --json stores the counts, which the page Reproducibility shows.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import fractions
import json
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hmmtheory"
#: Seconds of the processor after which a call hangs: another's load is not its fault. A call
#: that sleeps, or starts processes, has ten times as long by the clock.
PATIENCE = 20
#: NaN that is documented: what has not been measured, or can't be.
KNOWN_NAN = {
    # The uniform order does not split the risk; one trial has no standard error.
    "standard_error", "bias", "variance", "bias_standard_error", "variance_standard_error",
}  # fmt: skip
#: Where values are results of the caller's own, or text, nothing can be compared.
DRAWS = ("rng", "n_jobs", "simulate", "theory", "folder", "call", "progress")


class Tensor:
    """What torch's tensors do: some become arrays, some refuse with an error of their own."""

    def __init__(self, value: Any, error: Exception | None = None) -> None:
        self.value, self.error = np.asarray(value), error
        self.shape = self.value.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.error:
            raise self.error
        return self.value if dtype is None else self.value.astype(dtype)


class Rude:
    """An object that answers no question."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("rude")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("rude")

    def __repr__(self) -> str:
        return "Rude()"


def columns(array: np.ndarray, **options: Any) -> pd.DataFrame:
    """Return a data frame with named columns."""
    return pd.DataFrame(array, columns=[f"c{j}" for j in range(array.shape[1])], **options)


def same_array(array: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Yield other containers and types for the same numbers."""
    yield "list", array.tolist()
    yield "tuple", tuple(map(tuple, array)) if array.ndim == 2 else tuple(array.tolist())
    yield "Fortran order", np.asfortranarray(array)
    yield "strided", np.repeat(array, 2, axis=0)[::2]
    yield "backwards", array[::-1].copy()[::-1]
    frozen = array.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    whole: Any = np.ascontiguousarray(array)
    yield "memoryview", memoryview(whole)
    yield "tensor", Tensor(array)
    yield "masked without a mask", np.ma.array(array)
    if array.dtype.kind == "f":
        yield "big-endian", array.astype(">f8")
        yield "long double", array.astype(np.longdouble)
        yield "objects", array.astype(object)
        yield "fractions", np.vectorize(fractions.Fraction, otypes=[object])(array)
        yield "decimals", np.vectorize(Decimal, otypes=[object])(array)
        if (array == array.astype(np.float32)).all():
            yield "float32", array.astype(np.float32)
    if array.ndim == 1:
        yield "series", pd.Series(array)
        yield "series with an index", pd.Series(array, index=range(array.size, 0, -1))
        yield "index", pd.Index(array)
    if array.ndim == 2 and array.shape[1]:
        yield "matrix", np.asmatrix(array)
        yield "frame", columns(array)
        yield "nullable frame", columns(array).convert_dtypes()
        yield "pyarrow frame", columns(array).convert_dtypes(dtype_backend="pyarrow")
        yield "sparse frame", columns(array).astype(pd.SparseDtype("float"))
        yield "frame of objects", columns(array).astype(object)
        yield "shuffled index", columns(array, index=np.arange(len(array))[::-1])


def spoilt_array(array: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, Any]]:
    """Yield arrays that are wrong, odd, or hard to compute with."""
    real = array.astype(float)
    at = tuple(int(rng.integers(n)) if n else 0 for n in array.shape)
    for word, value in (("NaN", np.nan), ("inf", np.inf), ("-inf", -np.inf), ("1e200", 1e200),
                        ("1e-200", 1e-200), ("-1", -1.0), ("5e-324", 5e-324)):  # fmt: skip
        if array.size:
            changed = real.copy()
            changed[at] = value
            yield f"one {word}", changed
    for factor in (1e300, 1e150, 1e30, 1e9, 1e-9, 1e-30, 1e-150, 1e-300, 5e-324, -1.0, 0.0):
        with np.errstate(all="ignore"):
            yield f"times {factor:g}", real * factor
    yield "shifted by 1e9", real + 1e9
    yield "constant", np.full_like(real, 2.0)
    yield "one axis more", real[..., None]
    yield "one axis less", real[0] if len(real) else real
    yield "a number", float(real.flat[0]) if real.size else 0.0
    yield "transposed", real.T.copy()
    yield "no rows", real[:0]
    yield "one row", real[:1]
    yield "a row less", real[:-1]
    yield "a row twice", np.concatenate([real, real[:1]])
    yield "rows all the same", np.repeat(real[:1], len(real), axis=0)
    yield "rows twice each", np.repeat(real[: (len(real) + 1) // 2], 2, axis=0)[: len(real)]
    yield "rounded", np.round(real).astype(int)
    yield "int8", np.clip(np.round(real), -9, 9).astype(np.int8)
    yield "uint64", np.abs(np.round(real)).astype(np.uint64)
    yield "boolean", real > 0
    yield "float16", np.clip(real, -100, 100).astype(np.float16)
    yield "complex", real + 1j
    yield "text", real.astype(str)
    yield "text objects", real.astype(str).astype(object)
    yield "bytes", real.astype(str).astype("S")
    yield "dates", np.full(array.shape, np.datetime64("2020-01-01"))
    yield "durations", np.full(array.shape, np.timedelta64(1, "D"))
    for name, hole in (("None in it", None), ("pd.NA in it", pd.NA)):
        holes: Any = real.astype(object)
        holes[rng.random(array.shape) < 0.3] = hole
        yield name, holes
    yield "object() in it", np.full(array.shape, object())
    yield "masked", np.ma.array(real, mask=rng.random(array.shape) < 0.3)
    yield "ragged", [*real.tolist(), []]
    yield "structured", np.zeros(array.shape, dtype=[("a", "f8")])
    yield "generator", (row for row in real)
    yield "dict", {"a": real}
    yield "set", {1.0, 2.0}
    yield "tensor on a device", Tensor(real, TypeError("can't convert cuda:0 tensor to numpy"))
    yield "tensor with gradient", Tensor(real, RuntimeError("Can't call numpy() on Tensor"))
    if array.ndim == 2 and array.shape[1]:
        yield "no columns", real[:, :0]
        yield "a column twice", np.hstack([real, real[:, :1]])
        yield "a column less", real[:, :-1]
        yield "equal columns", np.repeat(real[:, :1], real.shape[1], axis=1)
        for factor in (1e12, 1e-12, 1e80, 1e-80, 0.0):
            changed = real.copy()
            changed[:, at[1]] *= factor
            yield f"a column times {factor:g}", changed
        yield "sparse", sparse.csr_array(real)
        yield "sparse COO", sparse.coo_matrix(real)
        frame = columns(real)
        yield "frame with text", frame.assign(c0="x")
        yield "frame with a category", frame.assign(c0=pd.Categorical(["a"] * len(frame)))
        yield "frame with dates", frame.assign(c0=pd.Timestamp("2020-01-01"))
        yield "frame with NA", frame.convert_dtypes(dtype_backend="pyarrow").mask(real > 0.5)
        yield "frame with nullable NA", frame.astype("Float64").mask(real > 0.5)
        yield "frame of booleans", (frame > 0).astype("boolean")
        yield "equal names", frame.set_axis(["a"] * real.shape[1], axis=1)
        names = pd.MultiIndex.from_product([["a"], range(real.shape[1])])
        yield "two levels of names", frame.set_axis(names, axis=1)
        yield "frame of lists", frame.astype(object).map(lambda value: [value])
        yield "empty frame", frame.iloc[:, :0]


def same_number(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield other types for the same number."""
    if isinstance(value, int):
        yield "np.int64", np.int64(value)
        if 0 <= value < 128:
            yield "np.uint8", np.uint8(value)
    else:
        yield "np.float64", np.float64(value)
        yield "0-d array", np.array(value)
        yield "fraction", fractions.Fraction(value)
        if value == float(np.float32(value)):
            yield "np.float32", np.float32(value)


#: For every argument.
ANYTHING: tuple[Callable[[], Any], ...] = (
    lambda: None, lambda: True, lambda: "1", lambda: "", lambda: b"1", lambda: "auto", lambda: 0,
    lambda: -1, lambda: 1, lambda: 2, lambda: 7, lambda: 0.5, lambda: 1.5, lambda: 2.0,
    lambda: -0.0, lambda: 1e-300, lambda: 1e300, lambda: 1e-70, lambda: 1e70,
    lambda: 5e-324, lambda: 1e-12, lambda: 1e12,
    lambda: float("nan"), lambda: float("inf"), lambda: -float("inf"), lambda: 10**30,
    lambda: -(2**63), lambda: 1j, lambda: np.float32("nan"), lambda: np.int8(3),
    lambda: np.bool_(True), lambda: np.array(3), lambda: np.array([3]), lambda: np.array([]),
    lambda: np.array("a"), lambda: Decimal("0.5"), lambda: Decimal("NaN"),
    lambda: fractions.Fraction(1, 3), lambda: pd.NA, lambda: pd.NaT, lambda: np.ma.masked,
    lambda: datetime.date(2020, 1, 1), list, lambda: [0.5], lambda: [1, 2], lambda: (),
    dict, lambda: {"a": 1}, lambda: {1}, lambda: range(3), lambda: iter([1, 2]),
    lambda: slice(3), lambda: Ellipsis, lambda: object(), lambda: object, lambda: len,
    lambda: np, lambda: Rude(), lambda: Tensor(0.5), lambda: Tensor(1, RuntimeError("cuda")),
    lambda: np.random.default_rng(1), lambda: np.random.RandomState(1), lambda: Path("none"),
    lambda: pd.DataFrame(), lambda: pd.Series(dtype=float), lambda: np.zeros((2, 0)),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Input:
    """One call: what was put in the place of which argument, and whether it means the same."""

    name: str
    spoilt: dict[str, Any]
    words: str
    same: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came back: "answered", "refused", or what is wrong with it."""

    kind: str
    finding: str = ""


def is_numeric(value: Any) -> bool:
    """Whether a right argument is an array of numbers, written down in any way."""
    if isinstance(value, np.ndarray):
        return True
    return (
        isinstance(value, list)
        and np.asarray(value, dtype=object).dtype.kind == "O"
        and all(isinstance(item, float | int) for item in np.asarray(value, dtype=object).flat)
    )


def catalogue(value: Any, rng: np.random.Generator) -> list[tuple[str, Any, bool]]:
    """Return what an argument may be replaced by: words, the value, whether it is the same."""
    found: list[tuple[str, Any, bool]] = []
    if is_numeric(value):
        array = np.asarray(value)
        same = [(words, other, True) for words, other in same_array(array)]
        found += same * 2 + [(words, other, False) for words, other in spoilt_array(array, rng)]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found += [(words, other, True) for words, other in same_number(value)] * 2
    elif isinstance(value, str):
        found += [(repr(value.upper()), value.upper(), False), ("np.str_", np.str_(value), True)]
    return found + [("", make(), False) for make in ANYTHING]


def shown(value: Any) -> str:
    """Return a value in a few words."""
    text = type(value).__name__ if isinstance(value, np.ndarray | Rude) else repr(value)
    return text if len(text) < 60 else f"{text[:60]}…"


def draw(name: str, right: dict[str, Any], rng: np.random.Generator) -> Input:
    """Draw one input for a function."""
    count = min(len(right), 2 if rng.random() < 0.2 else 1)
    spoilt, words, same = {}, [], True
    for argument in rng.permutation(sorted(right))[:count]:
        options = catalogue(right[argument], rng)
        said, value, alike = options[rng.integers(len(options))]
        spoilt[str(argument)] = value
        words.append(f"{argument}: {said or shown(value)}")
        same &= alike
    return Input(name, spoilt, "; ".join(words), same)


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the numbers of a result, each with the name of the field that holds it."""
    if isinstance(value, str | bytes | None) or callable(value):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, str(key))
    elif isinstance(value, pd.DataFrame | pd.Series):
        yield (
            name,
            value.select_dtypes("number").to_numpy(float) if value.ndim == 2 else np.empty(0),
        )
    elif isinstance(value, np.ndarray | np.generic | bool | int | float):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            yield name, array.astype(float)
    elif isinstance(value, list | tuple):
        for k, item in enumerate(value):
            yield from numbers(item, name or str(k))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers(getattr(value, field.name), field.name)


def differ(one: Any, other: Any) -> str:
    """Return where two results differ, in a few words."""
    left, right = list(numbers(one)), list(numbers(other))
    if len(left) != len(right):
        return "another shape"
    for (name, a), (_, b) in zip(left, right, strict=True):
        if a.shape != b.shape:
            return f"another shape of {name or 'it'}"
        scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
        if not np.allclose(a, b, rtol=1e-9, atol=1e-12 * scale, equal_nan=True):
            return f"another {name or 'value'}"
    return ""


class HangError(BaseException):
    """The call takes too long."""


def alarm(*_: Any) -> None:
    """Interrupt a call."""
    raise HangError


def patience(seconds: float) -> None:
    """Interrupt what runs after so many seconds; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)


def refusal(error: Exception, arguments: Sequence[str]) -> Outcome:
    """Judge an exception: ours, of the right class, naming an argument, saying what came."""
    message = str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__}: {message[:150]}"
    if not isinstance(error, ValueError | TypeError | ImportError):
        return Outcome("error", f"raises {where} [{Path(place.filename).name}:{place.lineno}]")
    if not Path(place.filename).is_relative_to(PACKAGE):
        return Outcome("error", f"another's {where} [{Path(place.filename).name}:{place.lineno}]")
    if not any(re.search(rf"\b{argument}\b", message) for argument in arguments):
        return Outcome("error", f"names no argument: {where}")
    return Outcome("refused")


def judge(
    function: Callable[..., Any], right: dict[str, Any], case: Input, plain: Any = None
) -> Outcome:
    """Make one call and say what came of it; `plain` is the answer to the right call."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            answer = function(**{**right, **case.spoilt})
        except Exception as error:
            return refusal(error, list(right))
        except HangError:
            return Outcome("error", f"takes over {PATIENCE} s")
    for warning in said:
        if issubclass(warning.category, RuntimeWarning) and not ours(warning):
            return Outcome("error", f"warns: {warning.message} [{Path(warning.filename).name}]")
    for name, array in numbers(answer):
        known = KNOWN_NAN | ({"risk", "per_output"} if case.name == "RiskCurve" else set())
        if np.isnan(array).any() and name not in known:
            return Outcome("error", f"NaN in {name or 'the answer'}")
    if case.same and not set(case.spoilt) & set(DRAWS):
        gap = differ(answer, plain)
        if gap:
            return Outcome("error", gap)
    return Outcome("answered")


def ours(warning: warnings.WarningMessage) -> bool:
    """Whether a warning is this package's own: those are raised at the caller's line."""
    return Path(warning.filename).resolve() == Path(__file__).resolve()


def calls() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Return the right call of every public function."""
    sys.path.insert(0, str(ROOT / "tests"))
    from calls import CALLS

    return CALLS


def fuzz(
    table: dict[str, tuple[Callable[..., Any], dict[str, Any]]],
    count: float,
    seed: int,
    seconds: float = math.inf,
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Make `count` calls, the same number of each function; return counts and findings."""
    counts = {name: {"inputs": 0, "answered": 0, "refused": 0} for name in table}
    findings: dict[str, str] = {}
    spent = dict.fromkeys(table, 0.0)
    plain: dict[str, Any] = {}
    start = time.monotonic()
    old = {each: signal.signal(each, alarm) for each in (signal.SIGALRM, signal.SIGPROF)}
    # Where a call makes a folder, it is no folder of the project.
    home, scratch = Path.cwd(), tempfile.mkdtemp()
    os.chdir(scratch)
    try:
        for k in range(math.ceil(min(count / len(table), 1e9))):
            for index, (name, (function, right)) in enumerate(table.items()):
                if time.monotonic() - start > seconds:
                    return counts, list(findings.values())
                # Slow functions must not eat the time of all others.
                if seconds < math.inf and spent[name] > 3 * seconds / len(table):
                    continue
                begin = time.monotonic()
                if name not in plain:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        plain[name] = function(**right)
                case = draw(name, right, np.random.default_rng([seed, index, k]))
                patience(PATIENCE)
                outcome = judge(function, right, case, plain[name])
                patience(0)
                spent[name] += time.monotonic() - begin
                counts[name]["inputs"] += 1
                if outcome.kind == "error":
                    kind = re.sub(r"'.*?'|[\d.e+-]+", "#", f"{name} {outcome.finding}")
                    findings.setdefault(
                        kind, f"{name}({case.words}) [{seed}, {index}, {k}]: {outcome.finding}"
                    )
                else:
                    counts[name][outcome.kind] += 1
    finally:
        os.chdir(home)
        shutil.rmtree(scratch)
        patience(0)
        for each, handler in old.items():
            signal.signal(each, handler)
    return counts, list(findings.values())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=float, default=math.inf, help="calls in all")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="one function, or several")
    parser.add_argument("--json", type=Path, help="where to store the counts")
    options = parser.parse_args(arguments)
    if options.count == math.inf and options.seconds == math.inf:
        options.count = 20_000.0
    table = {k: v for k, v in calls().items() if not options.only or k in options.only}
    counts, findings = fuzz(table, options.count, options.seed, options.seconds)
    for name, row in counts.items():
        print(f"{name:32}" + "".join(f"{value:8} {key}" for key, value in row.items()))
    print(*findings, sep="\n")
    total = {key: sum(row[key] for row in counts.values()) for key in next(iter(counts.values()))}
    total |= {"functions": len(table), "seed": options.seed, "findings": len(findings)}
    print(total)
    if options.json:
        options.json.write_text(json.dumps({"total": total}, indent=1) + "\n", encoding="utf-8")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
