"""The command line: diagnose, predict, recommend and report on features and labels in files."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shlex
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hmmtheory._bulk import chunks_of
from hmmtheory.curves import RiskCurve
from hmmtheory.practice.accuracy import predict_accuracy
from hmmtheory.practice.classes import as_classes, one_hot
from hmmtheory.practice.compare import compare
from hmmtheory.practice.diagnosis import diagnose
from hmmtheory.practice.features import predict_risk
from hmmtheory.practice.files import as_numbers, choose, read_table
from hmmtheory.practice.recommend import recommend
from hmmtheory.practice.report import report_html

_EXAMPLES = """
FEATURES and LABELS are .npy, .npz (archive.npz:name), .csv or .parquet files with the same rows, or
- for CSV from standard input. Without LABELS, --label names columns of FEATURES.

examples:
  hmmtheory diagnose  states.npy ratings.npy
  hmmtheory predict   states.npy ratings.npy --labels 200
  hmmtheory predict   table.csv --label species --labels 200
  hmmtheory predict   states.npy ratings.npy --labels 200 --unlabelled more.npy
  hmmtheory recommend table.parquet --label price --target-r2 0.4 --json
  hmmtheory recommend table.csv --label species --target-accuracy 0.9
  hmmtheory compare   ten=layer10.npy last=layer30.npy ratings.npy --labels 200
  hmmtheory recommend states.npy ratings.csv --label stars --groups reader
  hmmtheory report    states.npz:layer20 ratings.csv --label stars --html head.html

exit status: 0 answered, 1 answered and the answer is not to, 2 no answer.
"""


class _Data(NamedTuple):
    features: Any
    labels: Any
    classes: bool
    groups: Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``hmmtheory``; those of this process if omitted.

    Returns
    -------
    int
        0 if answered, 1 if the answer is not to do it, 2 if there is no answer.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", rng.standard_normal((60, 3)))
    ...     np.save(f"{folder}/y.npy", rng.standard_normal(60))
    ...     main(["predict", f"{folder}/x.npy", f"{folder}/y.npy", "--labels", "1"])
    2
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words, argparse.Namespace(words=words))
    said: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", kind)
        warnings.showwarning = _once(said)
        try:
            data = _read(options)
            status, text, found = _COMMANDS[options.command](options, data)
        except (ValueError, TypeError, ImportError, OSError) as error:
            print(f"hmmtheory {options.command}: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    if options.json:
        answer = {"command": ["hmmtheory", *words], "result": found}
        text = json.dumps({**answer, "warnings": list(said.values())}, indent=1)
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # whoever reads has not seen enough
            print(f"hmmtheory {options.command}: {error}", file=sys.stderr)
            return 2
    return status


def _once(said: dict[str, str]) -> Callable[..., None]:
    """Return what shows a warning, unless one that differs in numbers alone was shown."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        kind = re.sub(r"\d+", "#", str(message))
        if kind not in said:
            said[kind] = str(message)
            print(f"warning: {message}", file=sys.stderr)

    return show


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="hmmtheory",
        description="How wrong will a linear head on frozen features be, with n labels?",
        epilog=_EXAMPLES,
        formatter_class=form,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    said = {
        "diagnose": "what in these rows makes a prediction wrong",
        "predict": "the error of a head on n labels, or the accuracy of a classifier",
        "recommend": "which size and ridge, and how many labels a target needs",
        "compare": "which of several features carries the best head on n labels",
        "report": "all of it on one HTML page",
    }
    for name, text in said.items():
        one = commands.add_parser(
            name, help=text, description=text, epilog=_EXAMPLES, formatter_class=form
        )
        if name == "compare":
            one.add_argument("features", metavar="NAME=FEATURES", nargs="+")
            one.add_argument("labels_file", metavar="LABELS")
        else:
            one.add_argument("features", metavar="FEATURES")
            one.add_argument("labels_file", metavar="LABELS", nargs="?")
        usual = "a quarter of the rows" if name == "diagnose" else "all rows"
        said_of_n = f"labels planned for; {usual} if omitted"
        one.add_argument("--labels", type=int, metavar="N", help=said_of_n)
        one.add_argument(
            "--label", action="append", default=[], metavar="NAME", help="label column"
        )
        one.add_argument("--column", action="append", default=[], metavar="NAME", help="a feature")
        one.add_argument("--classes", action="store_true", help="labels are classes, not numbers")
        one.add_argument("--json", action="store_true", help="print JSON")
        said_of_groups = "column of the labels' file: whose row it is"
        one.add_argument("--groups", metavar="NAME", help=said_of_groups)
        if name in ("diagnose", "predict", "recommend"):
            said_of_more = "more rows of FEATURES, which may be larger than memory"
            one.add_argument("--unlabelled", metavar="FILE", help=said_of_more)
        if name == "predict":
            one.add_argument("--ridge", default="optimal", help="a penalty, or optimal")
            one.add_argument("--sizes", type=int, nargs="+", metavar="P", help="first P features")
        if name == "recommend":
            goal = one.add_mutually_exclusive_group()
            goal.add_argument("--target", type=float, metavar="T", help="squared error to reach")
            goal.add_argument("--target-r2", type=float, metavar="R", help="R² to reach")
            said_of_goal = "accuracy to reach; makes the labels classes"
            goal.add_argument("--target-accuracy", type=float, metavar="A", help=said_of_goal)
        if name == "report":
            one.add_argument("--html", required=True, metavar="FILE", help="where the page goes")
    return parser


def _read(options: argparse.Namespace) -> _Data:
    if options.command == "compare":
        return _read_several(options)
    table, place = read_table(options.features), options.features
    if options.labels_file is None:
        if not options.label:
            raise ValueError("LABELS must be a file, or --label a column of FEATURES; got neither")
        source, where = table, place
        table = choose(table, place, options.column, [*options.label, *_group_column(options)])
    else:
        source, where = read_table(options.labels_file), options.labels_file
        table = choose(table, place, options.column)
        _apart(table, place, choose(source, where, options.label, _group_column(options)), where)
    answers = _answers(options, source, where)
    if len(table) != len(source):
        raise ValueError(f"{where} must have the {len(table)} rows of {place}; got {len(source)}")
    return _Data(as_numbers(table, place), *answers)


def _apart(features: Any, place: str, labels: Any, where: str) -> None:
    """Refuse features that hold the labels."""
    both = set(getattr(features, "columns", [])) & set(getattr(labels, "columns", []))
    if both:
        name = sorted(both)[0]
        raise ValueError(
            f"{place} must not hold the label; column {name!r} is in {where}, too: choose features "
            "with --column, or give one file alone and --label"
        )


def _group_column(options: argparse.Namespace) -> list[str]:
    """Return the name of the column of groups, if there is one."""
    return [] if options.groups is None else [options.groups]


def _answers(options: argparse.Namespace, table: Any, where: str) -> tuple[Any, bool, Any]:
    """Return the labels, whether they are classes, and whose each row is."""
    name = _group_column(options)
    labels = choose(table, where, options.label, name)
    groups = np.asarray(choose(table, where, name)).ravel() if name else None
    if options.classes or getattr(options, "target_accuracy", None) or _are_classes(labels):
        if labels.shape[1] != 1:
            raise ValueError(f"{where} must be one column of classes; got {labels.shape[1]}")
        column = labels.iloc[:, 0] if isinstance(labels, pd.DataFrame) else labels[:, 0]
        empty = np.flatnonzero(pd.isna(column))
        if empty.size:
            raise ValueError(f"{where}: row {empty[0] + 1} must have a class; got nothing")
        if _are_classes(labels):
            print("labels are not numbers: taken as classes", file=sys.stderr)
        return column, True, groups
    if labels.shape[1] > 1 and not options.label:
        names = ", ".join(str(one) for one in getattr(labels, "columns", range(labels.shape[1])))
        short = textwrap.shorten(names, 60, placeholder=" …")
        print(f"{labels.shape[1]} outputs (--label takes some alone): {short}", file=sys.stderr)
    return as_numbers(labels, where), False, groups


def _read_several(options: argparse.Namespace) -> _Data:
    tables = {}
    for word in options.features:
        name, _, place = word.partition("=")
        if not place or name in tables:
            raise ValueError(f"each of the features must be NAME=FILE, once; got {word!r}")
        tables[name] = as_numbers(choose(read_table(place), place, options.column), place)
    place = options.labels_file
    return _Data(tables, *_answers(options, read_table(place), place))


def _are_classes(labels: Any) -> bool:
    """Whether labels are booleans, categories or names, and not numbers with a slip among them."""
    if isinstance(labels, pd.DataFrame):
        kinds = labels.dtypes
        if all(isinstance(k, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(k) for k in kinds):
            return True
        if all(pd.api.types.is_numeric_dtype(kind) for kind in kinds):
            return False
    elif labels.dtype.kind not in "USOb":
        return False
    values = pd.Series(np.asarray(labels, dtype=object).ravel())
    numbers = pd.to_numeric(
        values.where(~values.map(lambda one: isinstance(one, bool))), errors="coerce"
    )
    return bool(numbers.isna().all())


def _planned(options: argparse.Namespace, data: _Data) -> int:
    return len(data.labels) if options.labels is None else int(options.labels)


def _unlabelled(options: argparse.Namespace, data: _Data) -> Any:
    """Return the further rows by chunks, with a bar on standard error; None without."""
    if options.unlabelled is None:
        return None
    place = options.unlabelled
    whole = Path(place).suffix not in (".npy", ".parquet")
    chunks = [read_table(place)] if whole else chunks_of(place)
    names = list(getattr(data.features, "columns", []))
    with contextlib.suppress(ImportError):
        from tqdm.auto import tqdm

        quiet = whole or not sys.stderr.isatty()
        chunks = tqdm(chunks, desc="unlabelled", unit="chunk", disable=quiet)
    return (choose(chunk, place, names) if names else chunk for chunk in chunks)


Answer = tuple[int, str, Any]


def _diagnose(options: argparse.Namespace, data: _Data) -> Answer:
    more, labels = _unlabelled(options, data), data.labels
    if data.classes:
        names, codes = as_classes("labels", labels)
        labels = one_hot(codes, len(names))
    found = diagnose(
        data.features, labels, options.labels, rng=0, unlabelled=more, groups=data.groups
    )
    findings = [plain(one._asdict()) for one in found.findings]
    return int(not found.trusted), str(found), {"verdict": found.verdict, "findings": findings}


def _predict(options: argparse.Namespace, data: _Data) -> Answer:
    n = _planned(options, data)
    try:
        ridge = options.ridge if options.ridge == "optimal" else float(options.ridge)
    except ValueError:
        raise ValueError(f"--ridge must be a number or optimal; got {options.ridge!r}") from None
    if data.classes:
        for name in ("sizes", "unlabelled"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name} must be left out with classes: they use all features")
        forecast = predict_accuracy(data.features, data.labels, n, ridge, groups=data.groups)
        return 0, str(forecast), plain(forecast)
    more = _unlabelled(options, data)
    curve = predict_risk(
        data.features, data.labels, n, options.sizes, ridge, unlabelled=more, groups=data.groups
    )
    frame = curve.to_frame().drop(columns="standard_error")
    return 0, frame.to_string(float_format="{:.4g}".format), plain(curve)


def _recommend(options: argparse.Namespace, data: _Data) -> Answer:
    if data.classes and options.target_accuracy is None:
        raise ValueError("labels must be numbers here, or --target-accuracy given for classes")
    more = _unlabelled(options, data)
    found = recommend(
        data.features, data.labels, options.labels, options.target, unlabelled=more, rng=0,
        target_r2=options.target_r2, target_accuracy=options.target_accuracy,
        groups=data.groups,
    )  # fmt: skip
    missed = found.target is not None and found.labels_needed is None
    kinds = {"risk": options.target, "r2": options.target_r2, "accuracy": options.target_accuracy}
    kind = next((name for name, value in kinds.items() if value is not None), None)
    return int(missed), str(found), {**plain(found), "r2": plain(found.r2), "target_kind": kind}


def _compare(options: argparse.Namespace, data: _Data) -> Answer:
    n = _planned(options, data)
    found = compare(data.features, data.labels, n, data.groups, classes=data.classes)
    return 0, str(found), plain(found)


def _report(options: argparse.Namespace, data: _Data) -> Answer:
    call, path = shlex.join(["hmmtheory", *options.words]), Path(options.html)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"--html must be a file in a folder that exists; got {options.html}")
    page = report_html(
        data.features, data.labels, options.labels, call, classes=data.classes, groups=data.groups
    )
    path.write_text(page, encoding="utf-8")
    return 0, f"written to {options.html}", {"html": options.html, "bytes": len(page.encode())}


_COMMANDS: dict[str, Callable[[argparse.Namespace, _Data], Answer]] = {
    "diagnose": _diagnose,
    "predict": _predict,
    "recommend": _recommend,
    "compare": _compare,
    "report": _report,
}


def plain(value: Any) -> Any:
    """Return a result as JSON has it: no arrays, no estimators, infinities as text.

    Parameters
    ----------
    value : object
        A dataclass, array, mapping, sequence or number.

    Returns
    -------
    object
        Of dictionaries, lists, numbers, texts and None (for what is not a number).

    Examples
    --------
    >>> plain({"risk": np.array([1.5, np.inf, np.nan])})
    {'risk': [1.5, 'inf', None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hidden = {"estimator", "own_error"}
        if isinstance(value, RiskCurve):  # what is not there, or said twice
            hidden |= set() if value.n_trials else {"standard_error"}
            hidden |= set() if value.ridges is None else {"ridge"}
        names = [one.name for one in dataclasses.fields(value) if one.name not in hidden]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
