"""Figures draw the numbers of their curves."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

from hmmtheory import RiskCurve
from hmmtheory.plotting import COLORS, mark_threshold, plot_theory_and_simulation, use_style

mpl.use("Agg")

SIZES = [0, 4, 10, 30]
THEORY = RiskCurve(
    SIZES,
    [5.0, 4.0, np.inf, 2.0],
    np.zeros(4),
    noise=[5.0, 3.0, 2.0, 1.0],
    bias=[0.0, 0.0, 0.0, 0.5],
    variance=[0.0, 1.0, np.inf, 0.5],
    n_samples=10,
    label="theory",
)
SIMULATION = RiskCurve(
    SIZES,
    [5.1, 4.2, 80.0, 2.1],
    [0.1, 0.2, 9.0, 0.05],
    noise=[5.0, 3.0, 2.0, 1.0],
    bias=[0.0, 0.0, 0.1, 0.6],
    variance=[0.0, 1.1, 70.0, 0.4],
    bias_standard_error=[0.0, 0.0, 0.02, 0.03],
    variance_standard_error=[0.0, 0.1, 8.0, 0.04],
    n_samples=10,
    n_trials=50,
    label="simulation",
)


@pytest.fixture
def ax() -> Iterator[Axes]:
    with mpl.rc_context():
        figure, axes = plt.subplots()
        yield axes
        plt.close(figure)


def drawn(container: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sizes, heights and half-lengths of the error bars."""
    line, _, (bars,) = container.lines
    segments = np.array(bars.get_segments())
    return (
        np.array(line.get_xdata()),
        np.array(line.get_ydata()),
        np.diff(segments[:, :, 1])[:, 0] / 2,
    )


def test_a_theory_curve_is_a_line_with_a_gap_where_it_is_infinite(ax: Axes) -> None:
    assert THEORY.plot(ax) is ax
    (line,) = ax.get_lines()
    assert_allclose(np.array(line.get_xdata()), SIZES)
    assert_allclose(np.array(line.get_ydata()), [5.0, 4.0, np.nan, 2.0])
    assert line.get_label() == "theory"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("model size $p$", "risk")


def test_a_simulated_curve_is_points_with_bars_of_two_standard_errors(ax: Axes) -> None:
    SIMULATION.plot(ax, color="red")
    container: Any = ax.containers[0]
    assert len(ax.containers) == 1
    sizes, heights, bars = drawn(container)
    assert_allclose(sizes, SIZES)
    assert_allclose(heights, SIMULATION.risk)
    assert_allclose(bars, 2 * SIMULATION.standard_error)
    assert container.get_label() == "simulation"
    assert to_hex(container.lines[0].get_color()) == "#ff0000"
    assert container.lines[0].get_linestyle() == "None"


def test_a_single_trial_has_points_without_bars(ax: Axes) -> None:
    RiskCurve([0, 1], [2.0, 1.0], [np.nan, np.nan], n_trials=1).plot(ax)
    _, heights, bars = drawn(ax.containers[0])
    assert_allclose(heights, [2.0, 1.0])
    assert_allclose(bars, 0.0)


def test_a_curve_is_drawn_on_the_current_axes_if_none_are_given(ax: Axes) -> None:
    plt.sca(ax)
    assert THEORY.plot() is ax
    assert plot_theory_and_simulation(THEORY) is ax


def test_an_option_overrides_the_label_of_the_curve(ax: Axes) -> None:
    THEORY.plot(ax, label="another", linestyle="--")
    (line,) = ax.get_lines()
    assert line.get_label() == "another"
    assert line.get_linestyle() == "--"


@pytest.mark.parametrize("part", ["risk", "bias", "variance"])
def test_theory_and_simulation_of_a_part_are_drawn_as_they_are(ax: Axes, part: str) -> None:
    plot_theory_and_simulation(THEORY, SIMULATION, parts=[part], ax=ax)
    line = next(line for line in ax.get_lines() if line.get_label() == part)
    expected = np.array(getattr(THEORY, part))
    assert_allclose(np.array(line.get_ydata()), np.where(np.isinf(expected), np.nan, expected))
    simulated: Any = ax.containers[0]
    sizes, heights, bars = drawn(simulated)
    error = "standard_error" if part == "risk" else f"{part}_standard_error"
    assert_allclose(sizes, SIZES)
    assert_allclose(heights, getattr(SIMULATION, part))
    assert_allclose(bars, 2 * getattr(SIMULATION, error))
    assert line.get_color() == simulated.lines[0].get_color()


def test_every_part_has_a_colour_of_its_own_and_a_place_in_the_legend(ax: Axes) -> None:
    parts = ("risk", "noise", "bias", "variance")
    plot_theory_and_simulation(THEORY, SIMULATION, parts, ax=ax)
    lines = {line.get_label(): line.get_color() for line in ax.get_lines()}
    assert len({lines[part] for part in parts}) == 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(parts)
    # Noise has no error: it is not simulated.
    assert len(ax.containers) == 3


def test_theory_may_stand_alone_or_beside_a_simulation_without_parts(ax: Axes) -> None:
    bare = RiskCurve(SIZES, SIMULATION.risk, SIMULATION.standard_error, n_samples=10, n_trials=50)
    plot_theory_and_simulation(THEORY, ax=ax)
    plot_theory_and_simulation(THEORY, bare, parts=["bias"], ax=ax)
    assert len(ax.containers) == 0


def test_the_vertical_axis_ends_where_it_is_told(ax: Axes) -> None:
    plot_theory_and_simulation(THEORY, SIMULATION, ax=ax, top=6.0)
    assert ax.get_ylim() == (0.0, 6.0)


def test_the_threshold_is_marked_at_the_number_of_examples(ax: Axes) -> None:
    mark_threshold(ax, 10)
    (line,) = ax.get_lines()
    assert_allclose(np.array(line.get_xdata()), [10, 10])
    assert [text.get_text() for text in ax.texts] == ["$p = n$"]


def test_the_style_uses_the_palette_on_white() -> None:
    with mpl.rc_context():
        use_style()
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        assert cycle == list(COLORS.values())
        assert mpl.rcParams["figure.facecolor"] == "white"
    assert len({*COLORS.values()}) == len(COLORS)
