"""One self-contained HTML page: what a head on these features will cost, and how sure that is."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any, NamedTuple

import numpy as np

from hmmtheory._checks import FloatArray, as_count, as_flag, as_rows
from hmmtheory.curves import RiskCurve
from hmmtheory.practice.accuracy import Pilot
from hmmtheory.practice.classes import are_names, as_classes, one_hot
from hmmtheory.practice.diagnosis import Diagnosis, diagnose
from hmmtheory.practice.features import predict_risk
from hmmtheory.practice.recommend import Recommendation, recommend

#: A colour that stands for the page's own, light or dark.
_INK = "#010203"
_BLUE, _ORANGE = "#3b8fd0", "#d9722e"

_STYLE = """
:root { color-scheme: light dark; }
body { font: 17px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem;
       color: light-dark(#1a1a1a, #e8e8e8); background: light-dark(#ffffff, #16181c); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { border-left: .3rem solid #3b8fd0; padding: .2rem 1rem; font-size: 1.1rem; }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; }
figcaption { font-size: .9rem; opacity: .85; }
pre { white-space: pre-wrap; padding: .7rem; font-size: .85rem;
      background: light-dark(#f2f3f5, #23262c); }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
"""


class _Facts(NamedTuple):
    """What the page says; of classes also how accurate (3, budgets) heads will be, with errors."""

    n: int
    advice: Recommendation
    findings: Diagnosis
    plain: RiskCurve
    best: RiskCurve
    budgets: list[int]
    risks: FloatArray
    accuracy: FloatArray | None
    guess: float


def report_html(
    features: Any,
    responses: Any,
    n_samples: int | None = None,
    call: str = "",
    *,
    classes: bool = False,
    groups: Any = None,
) -> str:
    r"""Return one HTML page on a head of n labels: verdict, learning curve, sizes, findings.

    The page needs no network, follows the reader's light or dark theme, and is under 1 MB.

    Parameters
    ----------
    features : array_like, shape (N, P)
        Frozen features of labelled rows, an array or a DataFrame.
    responses : array_like, shape (N, q) or (N,)
        Their labels: numbers, or strings, categories or booleans, which are classes.
    n_samples : int, optional
        n >= 2, the number of labels planned for; N if omitted.
    call : str
        The command that makes this page again, shown at its end.
    classes : bool
        Whether whole numbers are classes, too.
    groups : array_like, shape (N,), optional
        Whose row it is: the head will be judged on people it has not seen, and the rows of one
        are left out together.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ValueError
        As :func:`.recommend` and :func:`.diagnose`, or if `call` is no text.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((80, 5))
    >>> page = report_html(x, x[:, 0] + rng.standard_normal(80), 40)
    >>> page.startswith("<!DOCTYPE html>"), "http" in page.replace("http://www.w3.org", "")
    (True, False)
    """
    if not isinstance(call, str):
        raise ValueError(f"call must be a text; got {call!r}")
    pilot = None
    if as_flag("classes", classes) or are_names(responses):
        pilot = Pilot.of(features, responses, groups)
        responses = one_hot(as_classes("responses", responses)[1], len(pilot.names))
    x, y = as_rows(features, responses)
    n = x.shape[0] if n_samples is None else as_count("n_samples", n_samples, minimum=2)
    whole = [x.shape[1]]
    low, high = max(4, min(n, x.shape[0]) // 4), 20 * max(n, x.shape[0])
    budgets = sorted({n, 2 * n, *np.geomspace(low, high, 25).round().astype(int).tolist()})
    ours: Any = {"ridge": "optimal", "groups": groups}
    risks = [float(predict_risk(x, y, m, whole, **ours).risk[0]) for m in budgets]
    return _page(
        _Facts(
            n=n,
            advice=recommend(features, responses, n_samples=n, rng=0, groups=groups),
            findings=diagnose(features, responses, n_samples=n, rng=0, groups=groups),
            plain=predict_risk(features, responses, n, groups=groups),
            best=predict_risk(features, responses, n, **ours),
            budgets=budgets,
            risks=np.array(risks),
            accuracy=pilot and np.array(pilot.accuracies(budgets, None, 0)),
            guess=pilot.baseline if pilot else float("nan"),
        ),
        call,
    )


def _page(facts: _Facts, call: str) -> str:
    n, advice = facts.n, facts.advice
    risk, error = float(facts.risks[facts.budgets.index(n)]), advice.standard_error
    total = advice.baseline
    rows: list[tuple[str, ...]] = [
        ("without features", f"{total:.3g}"),
        (f"all features, best ridge, {n} labels", f"{risk:.3g} ± {error:.2g}"),
        (f"the same, {2 * n} labels", f"{float(facts.risks[facts.budgets.index(2 * n)]):.3g}"),
        ("the same, unlimited labels", f"{advice.floor:.3g}"),
    ]
    heads = "<th>squared error</th>"
    if facts.accuracy is not None:
        heads += "<th>accuracy</th>"
        shown = [
            f"{accuracy:.3f} ± {error:.2g}"
            for accuracy, error, *_ in (
                facts.accuracy[:, facts.budgets.index(labels)] for labels in (n, 2 * n)
            )
        ]
        rights = [f"{facts.guess:.3f}", *shown, ""]
        rows = [(*row, right) for row, right in zip(rows, rights, strict=True)]
    cells = ("".join(f"<td>{escape(one)}</td>" for one in row) for row in rows)
    table = "".join(f"<tr>{row}</tr>" for row in cells)
    findings = escape(str(facts.findings))
    parts = [
        f"<h1>A linear head on {n} labels</h1>",
        f'<p class="verdict">{escape(facts.findings.verdict)}</p>',
        f"<p>{escape(str(advice))}</p>",
        f"<table><tr><th></th>{heads}</tr>{table}</table>",
        "<h2>What more labels buy</h2>",
        *([] if facts.accuracy is None else [_figure(*_rights(facts))]),
        _figure(*_learning(facts)),
        "<h2>What the number of features does</h2>",
        _figure(*_sizes(facts)),
        "<h2>What the rows say of this prediction</h2>",
        f"<pre>{findings}</pre>",
    ]
    if call:
        parts += ["<h2>To make this page again</h2>", f"<pre>{escape(call)}</pre>"]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>A linear head on {n} labels</title><style>{_STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _axes() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(_INK)
    axes.tick_params(colors=_INK, which="both")
    axes.set_ylabel("squared error", color=_INK)
    return axes


def _learning(facts: _Facts) -> tuple[Any, str]:
    """Draw the risk against n, with the pilot's band, and say what halves the excess."""
    axes, budgets, risks = _axes(), np.array(facts.budgets), facts.risks
    advice, floor = facts.advice, facts.advice.floor
    relative = 1.96 * advice.standard_error / advice.risk if advice.risk > 0 else 0.0
    if np.isfinite(relative):
        band = risks * max(1 - relative, 0.0), risks * (1 + relative)
        axes.fill_between(budgets, *band, color=_BLUE, alpha=0.2, linewidth=0)
    axes.semilogx(budgets, risks, color=_BLUE, linewidth=2)
    axes.axhline(floor, color=_INK, linewidth=1, linestyle=":")
    axes.plot([facts.n], [risks[facts.budgets.index(facts.n)]], "o", color=_BLUE)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("labels", color=_INK)
    axes.set_ylim(bottom=0)
    excess = risks[facts.budgets.index(facts.n)] - floor
    enough = np.flatnonzero(risks - floor <= excess / 2)
    half = (
        f"To halve what more labels can still win takes about {budgets[enough[0]]} labels."
        if enough.size and excess > 0
        else f"Half of what more labels can still win is not won by {budgets[-1]} labels."
    )
    said = (
        "Predicted error of a head on all features with the best ridge. The dot is your plan, the "
        "band what this pilot leaves open (±1.96 standard errors), the dotted line the best linear "
        f"head. {half}"
    )
    return axes.figure, said


def _rights(facts: _Facts) -> tuple[Any, str]:
    """Draw the accuracy against n."""
    assert facts.accuracy is not None
    axes, budgets = _axes(), np.array(facts.budgets)
    accuracy, error = facts.accuracy[:2]
    band = (accuracy - 1.96 * error).clip(0, 1), (accuracy + 1.96 * error).clip(0, 1)
    axes.fill_between(budgets, *band, color=_BLUE, alpha=0.2, linewidth=0)
    axes.semilogx(budgets, accuracy, color=_BLUE, linewidth=2)
    axes.axhline(facts.guess, color=_INK, linewidth=1, linestyle=":")
    axes.plot([facts.n], [accuracy[facts.budgets.index(facts.n)]], "o", color=_BLUE)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("labels", color=_INK)
    axes.set_ylabel("accuracy", color=_INK)
    return axes.figure, (
        "Predicted accuracy of a head on all features with the best ridge. The dot is your plan, "
        "the band what this pilot leaves open (±1.96 standard errors), dotted: always guessing the "
        "most frequent class. The errors below are squares of ones and zeros, one for each class."
    )


def _sizes(facts: _Facts) -> tuple[Any, str]:
    """Draw the risk against the number of features, with and without ridge."""
    axes, base = _axes(), facts.advice.baseline
    seen = np.concatenate([facts.plain.risk, facts.best.risk])
    top = min(4 * base, 1.15 * float(seen.max()))
    for curve, color, name in ((facts.plain, _ORANGE, "no ridge"), (facts.best, _BLUE, "ridge")):
        shown = np.where(curve.risk <= top, curve.risk, np.nan)
        axes.plot(curve.sizes, shown, color=color, linewidth=2, label=name)
    axes.axhline(base, color=_INK, linewidth=1, linestyle=":")
    if facts.n <= facts.plain.sizes[-1]:
        axes.axvline(facts.n - 1, color=_INK, linewidth=1, linestyle="--", alpha=0.5)
    axes.set_ylim(0, top)
    axes.set_xlabel("first p features", color=_INK)
    axes.legend(frameon=False, labelcolor=_INK)
    peak = (
        "Where p nears the number of labels (dashed), a head without ridge leaves the picture: "
        "that is the peak of double descent."
        if facts.n <= facts.plain.sizes[-1]
        else "There are more labels than features, and so no peak of double descent."
    )
    return axes.figure, (
        f"Predicted error with {facts.n} labels when the head sees the first p features. Dotted: "
        f"no features. {peak}"
    )


def _figure(figure: Any, caption: str) -> str:
    """Return an inline drawing in the page's own colours, with the caption as its alt text."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hmmtheory"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor")
    said = escape(caption, quote=True)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{said}" ', 1)
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
