"""The package gives the answers that it gave before it was restructured.

Inputs are recipes in this file; ``golden.json`` holds the answers of commit fbd97cb, all of them
where that code was right: ordinary scales, well-conditioned features, normal chains.  To renew
them, run this file with that commit on the path: ``PYTHONPATH=… python tests/test_golden.py``.
"""

import json
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hmmtheory as H
from hmmtheory import closed_forms
from hmmtheory.factors import effective_ridge, elliptical_factors, risk_factors
from hmmtheory.moments import Moments, Risk
from hmmtheory.simulation import SimulatedRisk
from hmmtheory.studies.settings import setting_theory, simulate_setting
from hmmtheory.theory import document_inflation

STORE = Path(__file__).with_name("golden.json")

#: The default tolerance, relative to each number (or a hundredth of an answer's largest).
EXACT = 1e-12
CASES: dict[str, Callable[[], Any]] = {}
#: Looser tolerances, each with its reason.
LOOSER: dict[str, tuple[float, str]] = {}


def case(
    name: str, given: Any, answer: Callable[..., Any], tolerance: float = EXACT, reason: str = ""
) -> None:
    assert name not in CASES, name
    CASES[name] = partial(answer, *given)
    if tolerance > EXACT:  # same bits: the default
        assert reason
        LOOSER[name] = (tolerance, reason)


def numbers(value: Any) -> list[float]:
    """Return the numbers of an answer, flat; a curve's and a risk's are its parts."""
    if isinstance(value, H.RiskCurve):
        names = ("risk", "standard_error", "noise", "bias", "variance", "per_output", "ridges")
        more = ("bias_standard_error", "variance_standard_error", "trials")
        found = [getattr(value, name) for name in (*names, *more)]
        return numbers([part for part in found if part is not None])
    if isinstance(value, Risk):
        return numbers([value.noise, *np.diagonal([value.bias, value.variance], 0, 1, 2)])
    if isinstance(value, (list, tuple)):
        return [number for part in value for number in numbers(part)]
    return [float(number) for number in np.ravel(np.asarray(value, dtype=np.float64))]


# What the answers are computed from, each with one spelling, so that a new name is one edit.


def predict(x: Any, y: Any, n: int, sizes: Any, ridge: Any = 0.0, **more: Any) -> H.RiskCurve:
    order = {"order": more.pop("nesting", "given")}
    return H.predict_risk(x, y, n, sizes, ridge, **order, **more)


def resample(x: Any, y: Any, n: int, sizes: Any, ridge: Any = 0.0, **more: Any) -> H.RiskCurve:
    order = {"order": more.pop("nesting", "given")}
    return H.resample_risk_curve(x, y, n, sizes, ridge=ridge, **order, **more)


@cache
def recommendation(kind: str, n: int, sizes: tuple[int, ...]) -> Any:
    found = H.recommend(*samples(kind), n, sizes=sizes, order="given", rng=2)
    return [found.curve.risk, found.curve.ridges, found.baseline, found.floor]


@cache
def spectrum(kind: str) -> Any:
    index = np.arange(1.0, 25.0)
    return {
        "flat": np.ones(24),
        "power": index**-1.0,
        "steep": index**-1.5,
        "two levels": np.where(index <= 6, 4.0, 0.5),
        "geometric": 0.9**index,
        "five": np.array([3.0, 2.0, 1.5, 1.0, 0.7]),
    }[kind]


@cache
def population(kind: str, q: int = 2) -> H.Population:
    t = spectrum(kind)
    rng = np.random.default_rng(t.size + q)
    basis = np.linalg.qr(rng.standard_normal((t.size, t.size)))[0]
    s = (basis * t) @ basis.T
    head, root = rng.standard_normal((t.size, q)), rng.standard_normal((q, q))
    omega = root @ root.T + 0.5 * np.eye(q)
    return H.Population(s, s @ head, head.T @ s @ head + omega)


@cache
def chain(dim: int, persistence: float) -> H.GaussianHMM:
    return H.GaussianHMM.rotation(dim, persistence, rng=dim)


@cache
def uneven_chain() -> H.GaussianHMM:
    """Return a normal chain (A is symmetric) whose states have unequal variances."""
    basis = np.linalg.qr(np.random.default_rng(5).standard_normal((5, 5)))[0]
    return H.GaussianHMM((basis * [0.9, 0.7, 0.4, 0.2, -0.6]) @ basis.T, 0.7)


@cache
def model(dim: int, size: int, noise: float = 1.0, signal: float = 1.0) -> H.Representation:
    return H.Representation.gaussian(dim, size, signal, noise, rng=100 + dim)


@cache
def label(dim: int) -> H.LinearResponse:
    return H.LinearResponse(np.random.default_rng(dim).standard_normal((dim, 2)), [0.5, 0.0])


@cache
def tokens() -> H.CategoricalHMM:
    rng = np.random.default_rng(3)
    return H.CategoricalHMM(
        [0.5, 0.3, 0.2],
        0.6 * np.eye(3) + 0.4 * rng.dirichlet(np.ones(3), 3),
        rng.dirichlet(0.7 * np.ones(5), 3),
    )


@cache
def text(rows: int, length: int) -> Any:
    return np.random.default_rng(9).integers(0, 5, (rows, length))


@cache
def samples(kind: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(17)
    rows, p = {"tall": (300, 8), "wide": (60, 90), "scaled": (250, 12), "few": (90, 12)}[kind]
    x = rng.standard_normal((rows, p)) * np.arange(1.0, p + 1) ** -0.5
    if kind == "scaled":
        x *= np.exp(0.5 * rng.standard_normal((rows, 1)))
    head = rng.standard_normal((p, 2))
    return x + 0.3, x @ head + rng.standard_normal((rows, 2)) + [1.0, -2.0]


@cache
def unlabelled(kind: str) -> Any:
    p = samples(kind)[0].shape[1]
    return np.random.default_rng(23).standard_normal((150, p)) * np.arange(1.0, p + 1) ** -0.5


def add_theory() -> None:
    spectra = ("flat", "power", "steep", "two levels", "geometric", "five")
    for kind in spectra:
        for n in (8, 20, 60):
            for ridge in (0.0, 2.0, 40.0):
                for order in (1, 2):
                    name = f"head_risk {kind} n={n} ridge={ridge:g} order={order}"
                    case(
                        name,
                        (
                            kind,
                            n,
                            ridge,
                            order,
                        ),
                        lambda k, n, r, o: H.head_risk(population(k), n, r, o),
                    )
        for n, ridge, nu in ((10, 0.0, 1.5), (20, 5.0, -1.2), (50, 0.0, 6.0)):
            case(
                f"head_risk {kind} n={n} ridge={ridge:g} kurtosis={nu:g}",
                (
                    kind,
                    n,
                    ridge,
                    nu,
                ),
                lambda k, n, r, nu: H.head_risk(population(k, 1), n, r, 2, nu),
            )
        case(
            f"head_risk {kind} zero head",
            (kind,),
            lambda k: H.head_risk(population(k), 9, np.inf, 2),
        )
        for n, ridge, order in ((10, 0.0, 1), (10, 3.0, 2), (40, 0.0, 2), (30, 1.0, 1)):
            case(
                f"risk_factors {kind} n={n} ridge={ridge:g} order={order}",
                (
                    kind,
                    n,
                    ridge,
                    order,
                ),
                lambda k, n, r, o: tuple(risk_factors(spectrum(k), n, r, order=o)),
            )
        for n, ridge in ((10, 0.0), (15, 0.5), (40, 7.0)):
            case(
                f"effective_ridge {kind} n={n} ridge={ridge:g}",
                (
                    kind,
                    n,
                    ridge,
                ),
                lambda k, n, r: effective_ridge(spectrum(k), n, r),
            )
        for order in (1, 2):
            case(
                f"optimal_ridge {kind} order={order}",
                (
                    kind,
                    order,
                ),
                lambda k, o: H.optimal_ridge(population(k), 30, o),
                1e-6,
                "a minimum found numerically is as flat as the square root of rounding",
            )
        for n, ridge, order in ((10, 0.0, 1), (10, 2.0, 2), (40, 0.0, 1), (40, 3.0, 2)):
            case(
                f"elliptical_factors {kind} n={n} ridge={ridge:g} order={order}",
                (
                    kind,
                    n,
                    ridge,
                    order,
                ),
                lambda k, n, r, o: tuple(
                    elliptical_factors(spectrum(k), n, [0.3, 0.7, 1.0, 1.1, 1.9], r, o)
                ),
                1e-11,
                "κ and c are roots, found to 1e-14 of their logarithm",
            )
    for n in (20, 100):
        case(
            f"risk_factors with multiplicities n={n}",
            (n,),
            lambda n: tuple(risk_factors([3.0, 1.0, 0.2], n, 1.0, [2, 10, 50], 2, 0.5)),
        )
        case(
            f"effective_ridge with multiplicities n={n}",
            (n,),
            lambda n: effective_ridge([3.0, 1.0, 0.2], n, 0.1, [2, 10, 500]),
        )


def add_curves() -> None:
    sizes = [0, 1, 4, 10, 18, 26, 40, 80]
    for order in (1, 2):
        for ridge in (0.0, 3.0, 30.0):
            case(
                f"risk_curve rotation ridge={ridge:g} order={order}",
                (
                    ridge,
                    order,
                ),
                lambda r, o: H.risk_curve(chain(6, 0.9), model(6, 80), 22, sizes, r, o),
            )
            case(
                f"risk_curve response ridge={ridge:g} order={order}",
                (
                    ridge,
                    order,
                ),
                lambda r, o: H.risk_curve(
                    chain(6, 0.9), model(6, 80, 0.5), 22, sizes, r, o, label(6)
                ),
            )
            case(
                f"risk_curve uneven ridge={ridge:g} order={order}",
                (
                    ridge,
                    order,
                ),
                lambda r, o: H.risk_curve(uneven_chain(), model(5, 80, 0.7, 2.0), 22, sizes, r, o),
            )
        case(
            f"risk_curve large order={order}",
            (order,),
            lambda o: H.risk_curve(chain(6, 0.5), model(6, 3000), 60, [100, 900, 3000], 0, o),
        )
    case(
        "risk_curve without feature noise",
        (),
        lambda: H.risk_curve(chain(6, 0.9), model(6, 20, 0.0), 22, [0, 3, 6, 20], 0.0, 1),
    )
    case(
        "risk_curve at the threshold",
        (),
        lambda: H.risk_curve(chain(6, 0.9), model(6, 80), 22, [20, 21, 22, 23, 24], 0.0, 1),
    )
    for n in (2, 50, 400):
        case(
            f"document_inflation n={n}",
            (n,),
            lambda n: document_inflation(chain(6, 0.9), model(6, 8), n),
        )
        case(
            f"document_inflation uneven n={n}",
            (n,),
            lambda n: document_inflation(uneven_chain(), model(5, 3, 0.3), n),
        )
    case(
        "setting_theory",
        (),
        lambda: setting_theory(6, 0.9, 30, [0, 5, 12, 60], 1.5, 0.8, 2.0, order=1),
    )
    for weights in ("gaussian", "balanced"):
        for kind in ("rotation", "scalar"):
            case(
                f"setting_theory {weights} {kind}",
                (
                    weights,
                    kind,
                ),
                lambda w, c: setting_theory(
                    6, 0.9, 30, [0, 5, 12, 60], chain=c, weights=w, instance=3, order=2
                ),
            )


def moments(found: H.Population) -> Any:
    inputs = [found.feature_covariance, found.cross_covariance, found.response_covariance]
    return [*(matrix[:2] for matrix in inputs), found.head[:2], found.residual_covariance]


def add_populations() -> None:
    for dim, hmm in (("5", uneven_chain), ("6", lambda: chain(6, 0.9))):
        d = int(dim)
        for noise in (0.3, 1.0):
            name = f"d={dim} noise={noise:g}"
            case(
                f"Population.next_token {name}",
                (
                    hmm,
                    d,
                    noise,
                ),
                lambda h, d, s: moments(H.Population.next_token(h(), model(d, 4, s))),
            )
            case(
                f"Population.downstream {name}",
                (
                    hmm,
                    d,
                    noise,
                ),
                lambda h, d, s: moments(H.Population.downstream(h(), model(d, 4, s), label(d))),
            )
            for length in (1, 5, None):
                case(
                    f"Population.filtered {name} length={length}",
                    (
                        hmm,
                        d,
                        noise,
                        length,
                    ),
                    lambda h, d, s, t: moments(H.Population.filtered(h(), model(d, 4, s), 0.8, t)),
                )
    for noise in (0.1, 0.5):
        case(
            f"Population.tokens noise={noise:g}",
            (noise,),
            lambda s: moments(
                H.Population.tokens(tokens(), np.random.default_rng(2).standard_normal((5, 3)), s)
            ),
        )
    for size in (0, 3, 24):
        case(
            f"Population.truncate {size}",
            (size,),
            lambda p: H.head_risk(population("power").truncate(p), 60, 1.0, 1),
        )
    case("Population.spectrum", (), lambda: population("geometric").spectrum[0])
    for kind in ("tall", "scaled", "few"):
        case(f"from_samples {kind}", (kind,), lambda k: sampled(k))
        case(f"from_samples unlabelled {kind}", (kind,), lambda k: sampled(k, unlabelled(k)))
        case(f"from_samples plain {kind}", (kind,), lambda k: sampled(k, correct=False))
    case(
        "from_samples wide",
        (),
        lambda: H.Population.from_samples(*samples("wide")).residual_covariance,
    )


def sampled(kind: str, *more: Any, **options: Any) -> Any:
    found = H.Population.from_samples(*samples(kind), *more, **options)
    return [
        np.diag(found.feature_covariance),
        found.head[:3],
        found.response_covariance,
        found.residual_covariance,
    ]


def add_chains() -> None:
    for name, hmm in (("uneven", uneven_chain), ("rotation", lambda: chain(3, 0.8))):
        case(f"stationary_covariance {name}", (hmm,), lambda h: h().stationary_covariance)
        for lag in (0, 1, 7):
            case(
                f"autocovariance {name} {lag}",
                (
                    hmm,
                    lag,
                ),
                lambda h, k: h().autocovariance(k),
            )
        for length in (1, 4, None):
            case(
                f"filter_covariance {name} {length}",
                (
                    hmm,
                    length,
                ),
                lambda h, t: h().filter_covariance(0.6, t),
            )
        case(
            f"filter {name}",
            (hmm,),
            lambda h: h().filter(np.random.default_rng(4).standard_normal((2, 5, h().dim)), 0.6)[
                :, -2:
            ],
        )
        case(f"GaussianHMM.sample {name}", (hmm,), lambda h: h().sample(2, 4, rng=7)[:, -2:])
    case("rotation", (), lambda: chain(3, 0.8).transition)
    case("stationary_distribution", (), lambda: tokens().stationary_distribution)
    case("bigram", (), lambda: tokens().bigram)
    case("CategoricalHMM.sample", (), lambda: tokens().sample(4, 9, rng=3))
    case("CategoricalHMM.filter", (), lambda: tokens().filter(text(3, 30))[:, [0, 9, 29]])
    case("predict_next", (), lambda: tokens().predict_next(text(3, 30))[:, [0, 9, 29]])
    case("log_likelihood", (), lambda: tokens().log_likelihood(text(6, 40)))
    for size in (2, 7):
        case(
            f"Representation.gaussian {size}",
            (size,),
            lambda p: H.Representation.gaussian(3, p, 2.0, 1.0, rng=5).weights,
        )
        case(
            f"Representation.balanced {size}",
            (size,),
            lambda p: H.Representation.balanced(3, p, 2.0, 1.0, rng=5).weights,
        )
    case(
        "Representation.features",
        (),
        lambda: model(3, 4).truncate(3).features(chain(3, 0.8).sample(1, 4, rng=1)[0], rng=2),
    )
    case(
        "LinearResponse.sample",
        (),
        lambda: label(3).sample(chain(3, 0.8).sample(1, 4, rng=1)[0], 6),
    )
    case("LinearResponse.noise_covariance", (), lambda: label(3).noise_covariance)


def add_heads() -> None:
    for kind in ("tall", "wide", "few"):
        for ridge in (0.0, 0.5, 20.0):
            case(
                f"fit_head {kind} ridge={ridge:g}",
                (
                    kind,
                    ridge,
                ),
                lambda k, r: H.fit_head(*samples(k), r)[:6],
                1e-11,
                "the old code's singular values left 2e-14 against mpmath, QR leaves 2e-15",
            )
        for form in ("loo", "gcv"):
            case(
                f"cross_validation_scores {kind} {form}",
                (
                    kind,
                    form,
                ),
                lambda k, f: H.cross_validation_scores(*samples(k), [0.3, 2.0, 30.0, 1e4], f),
            )
    case(
        "fit_head of a vector",
        (),
        lambda: H.fit_head(samples("few")[0], samples("few")[1][:, 0], 1),
    )


def simulated(found: SimulatedRisk) -> Any:
    errors = [found.total_standard_error, found.bias_standard_error, found.variance_standard_error]
    return [found.matrix, found.standard_error, found.total, found.parts, errors]


def add_simulations() -> None:
    for kind, n, ridge in (
        ("power", 12, 0.0), ("power", 40, 0.0), ("power", 24, 5.0), ("two levels", 60, 1.0),
        ("five", 8, 0.0), ("five", 10, 2.0),
    ):  # fmt: skip
        case(
            f"simulate_head_risk {kind} n={n} ridge={ridge:g}",
            (
                kind,
                n,
                ridge,
            ),
            lambda k, n, r: simulated(H.simulate_head_risk(population(k), n, 5, r, rng=11)),
        )
    case(
        "simulate_head_risk of a sampler",
        (),
        lambda: simulated(
            H.simulate_head_risk(
                H.Population(np.eye(2), [[0.5], [0.2]], [[1.0]]), 9, 4, 0.5, 1, uniform_rows
            )
        ),
    )
    sizes = [0, 2, 8, 15, 25, 70]
    for estimator in ("conditional", "plain"):
        for ridge in (0.0, 4.0):
            for response in (None, label(5)):
                named = "next token" if response is None else "label"
                case(
                    f"simulate_risk_curve {estimator} ridge={ridge:g} {named}",
                    (
                        estimator,
                        ridge,
                        response,
                    ),
                    lambda e, r, v: H.simulate_risk_curve(
                        uneven_chain(), model(5, 70), 20, sizes, 4, "prompts", r, 3, 1, v, e
                    ),
                )
    for ridge in (0.0, 4.0):
        case(
            f"simulate_risk_curve document ridge={ridge:g}",
            (ridge,),
            lambda r: H.simulate_risk_curve(
                chain(6, 0.9), model(6, 70), 20, sizes, 4, "document", r, rng=3
            ),
        )
    case(
        "simulate_risk_curve without feature noise",
        (),
        lambda: H.simulate_risk_curve(chain(6, 0.9), model(6, 9, 0.0), 20, [0, 3, 6], 4, rng=3),
    )
    case(
        "simulate_risk_curve with a target",
        (),
        lambda: H.simulate_risk_curve(
            chain(3, 0.9), model(3, 40), 12, [0, 4, 40], 8, rng=3, target_relative_error=0.02
        ),
    )
    case(
        "simulate_risk_curve of one trial",
        (),
        lambda: H.simulate_risk_curve(chain(3, 0.9), model(3, 40), 12, [4, 40], 1, rng=3).risk,
    )
    for weights in ("gaussian", "balanced"):
        case(
            f"simulate_setting {weights}",
            (weights,),
            lambda w: simulate_setting(4, 0.8, 15, [0, 4, 10, 30], 4, 2, 1.5, 0.8, 1.0, weights=w),
        )
    case(
        "simulate_setting document",
        (),
        lambda: simulate_setting(4, 0.8, 15, [0, 4, 30], 4, 2, design="document", chain="scalar"),
    )
    case("study", (), a_study)
    case("study with a target", (), lambda: a_study(target_relative_error=0.01, max_trials=200))
    case("pool_curves", (), lambda: H.RiskCurve.pool([a_curve(1), a_curve(2), a_curve(3)]))


def a_curve(seed: int) -> H.RiskCurve:
    return H.simulate_risk_curve(chain(3, 0.9), model(3, 40), 12, [0, 4, 40], 3 + seed, rng=seed)


def known_draws(scale: float, sizes: list[int], n_trials: int, rng: Any) -> H.RiskCurve:
    """Return a simulation that does not look at its random numbers, which hang on names of code."""
    risk = scale * (1.0 + np.array(sizes))
    return H.RiskCurve(np.array(sizes), risk, 0.1 * risk / n_trials**0.5, n_trials=n_trials)


def known_theory(scale: float, sizes: list[int]) -> H.RiskCurve:
    risk = scale * (1.1 + np.array(sizes))
    return H.RiskCurve(np.array(sizes), risk, 0.0 * risk)


def a_study(**options: Any) -> Any:
    grid = {"scale": [0.5, 0.9], "sizes": [[0, 4, 40]]}
    table = H.study(
        grid, 12, known_draws, known_theory, chunk_trials=5, rng=4, progress=False, **options
    )
    wanted = ["trials", "risk", "standard_error", "theory", "relative_gap", "z"]
    return table[wanted].to_numpy()


def uniform_rows(n: int, rng: np.random.Generator) -> tuple[Any, Any]:
    x = rng.uniform(-1, 1, (n, 2)) * 3**0.5
    return x, x @ [[0.5], [0.2]] + 0.71**0.5 * rng.standard_normal((n, 1))


def add_practice() -> None:
    sizes = {"tall": [0, 2, 5, 8], "scaled": [0, 3, 9, 12], "few": [0, 4, 12], "wide": [0, 3, 9]}
    for kind, some in sizes.items():
        for rows in ("elliptical", "gaussian"):
            for ridge in (0.0, 3.0):
                case(
                    f"predict_risk {kind} {rows} ridge={ridge:g}",
                    (
                        kind,
                        some,
                        rows,
                        ridge,
                    ),
                    lambda k, s, w, r: predict(*samples(k), 40, s, r, rows=w),
                    1e-10,
                    "moments may be found through another factorisation",
                )
        case(
            f"predict_risk {kind} best ridge",
            (
                kind,
                some,
            ),
            lambda k, s: predict(*samples(k), 40, s, "optimal").risk,
            1e-9,
            "the best ridge is found numerically, and moments through another factorisation",
        )
        case(
            f"predict_risk {kind} no intercept",
            (
                kind,
                some,
            ),
            lambda k, s: predict(*samples(k), 40, s, 1.0, intercept=False),
            1e-10,
            "moments may be found through another factorisation",
        )
        case(
            f"predict_risk {kind} unlabelled",
            (
                kind,
                some,
            ),
            lambda k, s: predict(*samples(k), 40, s, 1.0, unlabelled=unlabelled(k)),
            1e-10,
            "moments may be found through another factorisation",
        )
        for nesting in ("variance", "random"):
            case(
                f"predict_risk {kind} {nesting}",
                (
                    kind,
                    some,
                    nesting,
                ),
                lambda k, s, o: predict(*samples(k), 40, s, 2.0, nesting=o, rng=5),
                1e-10,
                "moments may be found through another factorisation",
            )
        for nesting, ridge, intercept in (
            ("given", 0.0, True), ("given", 3.0, True), ("random", 3.0, False),
            ("variance", 0.0, True),
        ):  # fmt: skip
            case(
                f"resample_risk_curve {kind} {nesting} ridge={ridge:g} intercept={intercept}",
                (
                    kind,
                    some,
                    nesting,
                    ridge,
                    intercept,
                ),
                lambda k, s, o, r, i: resample(
                    *samples(k), 40, s, r, n_trials=4, nesting=o, intercept=i, rng=6
                ),
                1e-10,
                "the error on the rows left out may be summed another way",
            )
    for kind in ("tall", "scaled"):
        case(
            f"recommend {kind}",
            (kind,),
            lambda k: recommendation(k, 60, tuple(sizes[k]))[0],
            1e-9,
            "the best ridge is found numerically, and moments through another factorisation",
        )
        case(
            f"recommend baseline {kind}",
            (kind,),
            lambda k: recommendation(k, 60, tuple(sizes[k]))[2:],
            1e-10,
            "moments may be found through another factorisation",
        )
    for kind in ("tall", "scaled", "few", "wide"):
        for name in (
            "rank", "effective_rank", "scale_spread", "near_duplicates", "dependent_rows",
            "repeated_rows", "tail_weight", "column_kurtosis", "tied_values",
        ):  # fmt: skip
            case(
                f"diagnose {kind} {name}",
                (
                    kind,
                    name,
                ),
                lambda k, a: getattr(diagnosis(k), a),
                1e-10,
                "moments may be found through another factorisation",
            )


@cache
def diagnosis(kind: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return H.diagnose(*samples(kind), 30, rng=1)


def add_closed_forms() -> None:
    settings = ((20, 600, 0.9, 1.0, 1.0), (20, 60, 0.9, 1.0, 1.0), (8, 90, 0.95, 3.0, 0.5),
                (50, 40, 0.8, 2.0, 1.0))  # fmt: skip
    for d, n, rho, s, noise in settings:
        name = f"d={d} n={n}"
        for ridge in (0.0, 5.0):
            case(
                f"balanced_risk {name} ridge={ridge:g}",
                (
                    d,
                    n,
                    rho,
                    s,
                    noise,
                    ridge,
                ),
                lambda d, n, rho, s, v, r: closed_forms.balanced_risk(
                    d, n, [0, 3, d, d + 7, n + 19, 4 * n], rho, s, v, r
                ),
                1e-11 if ridge else EXACT,
                "with ridge κ is the root of a cubic" if ridge else "",
            )
        case(
            f"limit_risk {name}",
            (
                d,
                n,
                rho,
                s,
                noise,
            ),
            lambda d, n, rho, s, v: closed_forms.limit_risk(d, n, rho, s, v),
        )
        case(f"sweet_spot {name}", (d, n, rho, s, noise), spot)
        case(
            f"global_optimum {name}",
            (d, n, rho, s, noise),
            lambda *c: closed_forms.global_optimum(*c).risk,
        )


def spot(*setting: Any) -> Any:
    found = closed_forms.sweet_spot(*setting)
    return [found.size, found.risk, found.degenerate, found.predictable_fraction,
            found.critical_samples]  # fmt: skip


for _add in (
    add_theory, add_curves, add_populations, add_chains, add_heads, add_simulations,
    add_practice, add_closed_forms,
):  # fmt: skip
    _add()


@cache
def stored() -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads(STORE.read_text("utf-8"))
    return found


def difference(now: list[float], then: list[float]) -> float:
    """Return the largest relative difference; infinity for another shape or another infinity."""
    new, old = np.array(now), np.array(then)
    if new.shape != old.shape:
        return float("inf")
    finite = np.isfinite(old)
    # NaN and infinity are the same by name, not by value.
    if not np.array_equal(np.where(finite, 0.0, old), np.where(finite, 0.0, new), equal_nan=True):
        return float("inf")
    size = np.abs(old[finite])
    size = np.maximum(size, max(1e-2 * float(size.max(initial=0.0)), 1e-300))
    return float((np.abs(new[finite] - old[finite]) / size).max(initial=0.0))


@pytest.fixture
def second_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default order of the time when the answers were stored."""
    evaluate = Moments._parts

    def parts(
        self: Moments, n: int, ridge: float, order: int | str, *more: Any, **others: Any
    ) -> Any:
        return evaluate(self, n, ridge, 2 if order == "uniform" else order, *more, **others)

    monkeypatch.setattr(Moments, "_parts", parts)


@pytest.mark.usefixtures("second_order")
@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_that_of_the_code_before_it_was_restructured(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what warns may change; the numbers may not
        now = numbers(CASES[name]())
    assert difference(now, stored()[name]) <= LOOSER.get(name, (EXACT, ""))[0]


def test_there_are_three_hundred_answers_and_no_stray_one() -> None:
    assert stored().keys() == CASES.keys()
    assert len(CASES) >= 300


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # Fifteen digits: three more than are compared.
    lines = [
        f"{json.dumps(name)}:"
        + json.dumps([float(f"{x:.15g}") for x in numbers(answer())], separators=(",", ":"))
        for name, answer in CASES.items()
    ]
    STORE.write_text("{" + ",\n".join(lines) + "}\n", "utf-8")
    sys.stdout.write(f"{len(lines)} answers, {STORE.stat().st_size / 1e3:.0f} kB\n")
