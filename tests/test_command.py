"""The command line says what the functions say, and names the row and column that is wrong."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hmmtheory import compare, diagnose, predict_accuracy, predict_risk, recommend
from hmmtheory.practice.command import main
from hmmtheory.practice.files import choose

RNG = np.random.default_rng(5)
X = RNG.standard_normal((90, 6))
Y = X[:, 0] + RNG.standard_normal(90)
KIND = np.where(Y > 0.3, "high", "low")
FRAME = pd.DataFrame(X, columns=list("abcdef")).assign(price=Y, kind=KIND)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    np.savez(tmp_path / "all.npz", x=X, y=Y)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.to_parquet(tmp_path / "t.parquet")
    return tmp_path


def answer(capsys: Any, *words: object) -> Any:
    status = main([str(word) for word in words] + ["--json"])
    said = capsys.readouterr()
    assert status in (0, 1), said.err
    return json.loads(said.out)["result"]


@pytest.mark.parametrize(
    ("features", "labels"),
    [("x.npy", ["y.npy"]), ("all.npz:x", ["all.npz:y"]), ("t.csv", []), ("t.parquet", [])],
)
def test_every_kind_of_file_gives_the_function_s_numbers(
    folder: Path, capsys: Any, features: str, labels: list[str]
) -> None:
    words = [folder / features, *[folder / name for name in labels], "--labels", 40]
    if not labels:
        words += ["--label", "price"]
        for name in "abcdef":
            words += ["--column", name]
    found = answer(capsys, "predict", *words, "--sizes", 0, 6)
    expected = predict_risk(X, Y, 40, [0, 6], "optimal").risk
    np.testing.assert_allclose(found["risk"], expected, rtol=1e-9)


def test_each_command_says_what_its_function_says(folder: Path, capsys: Any) -> None:
    files = [folder / "x.npy", folder / "y.npy", "--labels", 40]
    advice = recommend(X, Y, 40, 1.4, rng=0)
    found = answer(capsys, "recommend", *files, "--target", 1.4)
    assert found["labels_needed"] == advice.labels_needed
    assert found["risk"] == pytest.approx(advice.risk)
    assert "estimator" not in found
    names = [one["name"] for one in answer(capsys, "diagnose", *files)["findings"]]
    assert names == [one.name for one in diagnose(X, Y, 40).findings]


def test_names_are_classes_and_numbers_are_not(folder: Path, capsys: Any) -> None:
    words = [folder / "x.npy", folder / "t.csv", "--label", "kind", "--labels", "40"]
    assert main(["predict", *map(str, words)]) == 0
    said = capsys.readouterr()
    assert "taken as classes" in said.err
    assert f"{predict_accuracy(X, KIND, 40).accuracy:.3f}" in said.out
    whole = pd.DataFrame({"k": (Y > 0.3).astype(int)})
    whole.to_csv(folder / "whole.csv", index=False)
    words = [folder / "x.npy", folder / "whole.csv", "--labels", 40]
    assert "risk" in answer(capsys, "predict", *words)
    assert "accuracy" in answer(capsys, "predict", *words, "--classes")
    assert main(["recommend", *map(str, words), "--classes"]) == 2


def test_a_target_is_a_risk_a_share_or_an_accuracy(folder: Path, capsys: Any) -> None:
    files = [folder / "x.npy", folder / "y.npy", "--labels", 40]
    found = answer(capsys, "recommend", *files, "--target-r2", 0.3)
    assert found["labels_needed"] == recommend(X, Y, 40, rng=0, target_r2=0.3).labels_needed
    table = [folder / "x.npy", folder / "t.csv", "--label", "kind", "--labels", 40]
    found = answer(capsys, "recommend", *table, "--target-accuracy", 0.7)
    expected = recommend(X, KIND, 40, rng=0, target_accuracy=0.7)
    assert found["labels_needed"] == expected.labels_needed
    assert main(["recommend", *map(str, table)]) == 2
    assert "--target-accuracy given for classes" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["recommend", *map(str, files), "--target", "1", "--target-r2", "0.5"])


def test_every_command_takes_classes(folder: Path, capsys: Any) -> None:
    table = [folder / "x.npy", folder / "t.csv", "--label", "kind", "--labels", 40]
    ones = np.column_stack([KIND == "high", KIND == "low"]).astype(float)
    names = [one["name"] for one in answer(capsys, "diagnose", *table)["findings"]]
    assert names == [one.name for one in diagnose(X, ones, 40).findings]
    np.save(folder / "half.npy", X[:, 3:])
    views = [f"all={folder / 'x.npy'}", f"half={folder / 'half.npy'}", *table[1:]]
    found = answer(capsys, "compare", *views)
    expected = compare({"all": X, "half": X[:, 3:]}, KIND, 40)
    np.testing.assert_allclose(found["accuracy"], expected.accuracy, rtol=1e-9)
    page = folder / "kinds.html"
    answer(capsys, "report", *table, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == text.count('role="img"') == 3
    said = predict_accuracy(X, KIND, 40)
    assert f"{(KIND == 'low').mean():.3f}" in text
    shown = re.search(r"40 labels</td><td>[^<]*</td><td>([\d.]+) ±", text)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(said.accuracy, abs=said.standard_error)


def test_a_warning_is_shown_once(folder: Path, capsys: Any) -> None:
    np.save(folder / "wide.npy", np.random.default_rng(1).standard_normal((90, 120)))
    words = [folder / "wide.npy", folder / "y.npy", "--labels", 40, "--html", folder / "w.html"]
    assert main(["report", *map(str, words)]) == 0
    assert capsys.readouterr().err.count("can't judge") == 1


def test_a_table_comes_through_standard_input(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(FRAME.to_csv(index=False)))
    found = answer(
        capsys, "predict", "-", "--label", "price", "--column", "a", "--labels", 40, "--sizes", 1
    )
    expected = predict_risk(X[:, :1], Y, 40, [1], "optimal").risk
    np.testing.assert_allclose(found["risk"], expected, rtol=1e-9)


def change(folder: Path, row: int, column: str, value: Any) -> Path:
    frame = FRAME.drop(columns="kind").astype(object)
    frame.loc[row, column] = value
    path = folder / f"{column}{row}{value}.csv".replace("/", "")
    frame.to_csv(path, index=False)
    return path


def test_a_wrong_file_is_answered_with_its_place(folder: Path, capsys: Any) -> None:
    (folder / "numbers.csv").write_text("1,2\n3,4\n")
    (folder / "empty.csv").write_text("")
    (folder / "broken.npz").write_bytes(b"PK\x03\x04nothing")
    (folder / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.save(folder / "short.npy", Y[:-1])
    hole = X.copy()
    hole[5, 2] = np.nan
    np.save(folder / "hole.npy", hole)
    np.save(folder / "cube.npy", np.stack([hole, hole], axis=2))
    FRAME.to_csv(folder / "semicolons.csv", sep=";", index=False)
    cases: list[tuple[list[object], str]] = [
        ([change(folder, 16, "c", "n/k"), "--label", "price"], r"row 17, column 'c' .* 'n/k'"),
        ([change(folder, 3, "c", None), "--label", "price"], "row 4, column 'c' .* nothing"),
        ([change(folder, 3, "price", "x"), "--label", "price"], "row 4, column 'price' .* 'x'"),
        ([folder / "t.csv", "--label", "cost"], "no column 'cost'; it has a, b"),
        ([folder / "t.csv"], "LABELS must be a file"),
        ([folder / "t.csv", "--label", "price"], "row 1, column 'kind' must be a number"),
        ([folder / "none.npy", folder / "y.npy"], "none.npy must be a file"),
        ([folder / "x.txt", folder / "y.npy"], "must end in .npy"),
        ([folder / "all.npz", folder / "y.npy"], "all.npz holds x, y: say which"),
        ([f"{folder}/all.npz:z", folder / "y.npy"], "holds x, y, and no 'z'"),
        ([folder / "numbers.csv", folder / "y.npy"], "must have names in its first line"),
        ([folder / "empty.csv", folder / "y.npy"], "empty.csv: No columns"),
        ([folder / "broken.npz", folder / "y.npy"], "broken.npz"),
        ([folder / "broken.npy", folder / "y.npy"], "broken.npy"),
        ([folder / "objects.npy", folder / "y.npy"], "objects.npy"),
        ([folder / "x.npy", folder / "short.npy"], "must have the 90 rows of .*; got 89"),
        ([folder / "x.npy", folder / "y.npy", "--labels", 1], "n_samples must be"),
        ([folder / "cube.npy", folder / "y.npy"], "features must be finite; got 2 NaN"),
        ([folder / "hole.npy", folder / "y.npy"], "hole.npy: row 6, column 2 must be a number"),
        ([folder / "semicolons.csv", folder / "y.npy"], "commas between its columns; got 'a;b"),
        ([folder / "t.csv", folder / "t.csv", "--label", "price"], "'price' is in .*, too"),
    ]
    for words, said in cases:
        assert main(["diagnose", *map(str, words)]) == 2, words
        error = capsys.readouterr().err
        assert re.search(said, error), error
        assert error.count("\n") == 1, error


def test_what_can_not_be_honoured_is_refused(folder: Path, capsys: Any) -> None:
    files = [str(folder / "x.npy"), str(folder / "y.npy")]
    for words, said in (
        (["predict", *files, "--ridge", "best"], "--ridge must be a number or optimal; got 'best'"),
        (["report", *files, "--html", str(folder)], "--html must be a file in a folder that"),
        (["report", *files, "--html", str(folder / "no" / "a.html")], "--html must be a file"),
        (["predict", str(folder / "t.csv"), "--label", "kind", "--sizes", "2"], "--sizes must be"),
        (
            ["predict", str(folder / "t.csv"), "--label", "kind", "--unlabelled", files[0]],
            "--unlabelled must be left out with classes",
        ),
    ):
        assert main(words) == 2, words
        assert said in capsys.readouterr().err


def test_a_row_index_is_no_feature_and_no_label(tmp_path: Path, capsys: Any) -> None:
    shuffled = FRAME.drop(columns="kind").sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "rows.csv")
    assert main(["recommend", str(tmp_path / "rows.csv"), "--label", "price", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["result"]["size"] == X.shape[1]
    assert "taken as the rows' index" in err
    assert json.loads(out)["warnings"] == [err.removeprefix("warning: ").strip()]
    for place, columns in (("x.csv", list("abcdef")), ("y.csv", ["price"])):
        shuffled[columns].to_csv(tmp_path / place)
    assert main(["recommend", str(tmp_path / "x.csv"), str(tmp_path / "y.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    again = json.loads(out)["result"]
    assert found["risk"] == again["risk"]  # same bits: the same arrays
    # Several columns of labels are several outputs, said out loud.
    shuffled[["price", "a"]].to_csv(tmp_path / "two.csv", index=False)
    assert main(["diagnose", str(tmp_path / "x.csv"), str(tmp_path / "y.csv")]) in (0, 1)
    assert "outputs (" not in capsys.readouterr().err
    shuffled[["b", "c"]].to_csv(tmp_path / "bc.csv", index=False)
    assert main(["diagnose", str(tmp_path / "bc.csv"), str(tmp_path / "two.csv")]) in (0, 1)
    assert "2 outputs (--label takes some alone): price, a" in capsys.readouterr().err


def test_classes_are_known_by_their_type(tmp_path: Path, capsys: Any) -> None:
    frame = pd.DataFrame(X, columns=list("abcdef"))
    high = np.median(Y) < Y
    for name, labels in (
        ("flag.csv", high),
        ("flag.parquet", high),
        ("kind.parquet", pd.Categorical(np.where(high, "up", "down"))),
        ("none.csv", np.where(high, "None", "NA")),
    ):
        table = frame.assign(kind=labels)
        place = str(tmp_path / name)
        table.to_csv(place, index=False) if name.endswith("csv") else table.to_parquet(place)
        found = answer(capsys, "predict", place, "--label", "kind", "--labels", 40)
        assert found["accuracy"] == predict_accuracy(X, high, 40).accuracy or name == "none.csv"
        assert len(found["classes"]) == 2
    np.save(tmp_path / "flag.npy", high)
    np.save(tmp_path / "x.npy", X)
    found = answer(capsys, "predict", tmp_path / "x.npy", tmp_path / "flag.npy", "--labels", 40)
    assert found["classes"] == [False, True]
    goal = ["--label", "kind", "--target-accuracy", "0.6"]
    assert answer(capsys, "recommend", tmp_path / "flag.csv", *goal)["target_kind"] == "accuracy"
    frame.assign(kind=["up", None, *["down"] * (len(X) - 2)]).to_csv(tmp_path / "gap.csv")
    assert main(["predict", str(tmp_path / "gap.csv"), "--label", "kind"]) == 2
    assert "row 2 must have a class; got nothing" in capsys.readouterr().err


def test_json_holds_what_can_be_read_again(folder: Path, capsys: Any) -> None:
    files = [folder / "x.npy", folder / "y.npy", "--labels", 40]
    texts = [json.dumps(answer(capsys, "recommend", *files, "--target-r2", 0.1)) for _ in range(2)]
    assert texts[0] == texts[1]
    assert "0x" not in texts[0]
    found = json.loads(texts[0])
    assert found["target_kind"] == "r2"
    assert found["r2"] == pytest.approx(recommend(X, Y, 40).r2)
    assert "standard_error" not in found["curve"]
    assert "ridge" not in found["curve"]


def test_one_row_or_column_too_many_of_classes_is_refused(folder: Path, capsys: Any) -> None:
    words = ["predict", str(folder / "t.csv"), "--label", "kind", "--label", "price", "--classes"]
    assert main(words) == 2
    assert "one column of classes; got 2" in capsys.readouterr().err


def test_the_report_is_one_page_that_asks_for_nothing(folder: Path, capsys: Any) -> None:
    page = folder / "head.html"
    words = [folder / "x.npy", folder / "y.npy", "--labels", 40, "--html", page]
    assert main(["report", *map(str, words)]) == 0
    assert page.stat().st_size < 1_000_000
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!#)|@import|url\((?!["']?#)""", text)
    assert str(recommend(X, Y, 40).size) in text
    assert text.count("<svg") == text.count('role="img"') == 2
    assert "--labels 40" in text
    assert "#010203" not in text
    assert main(["report", *map(str, words)]) == 0
    assert page.read_text(encoding="utf-8") == text


def test_hostile_names_stay_text(folder: Path, capsys: Any) -> None:
    page = folder / "<b>&.html"
    words = [folder / "x.npy", folder / "y.npy", "--labels", 40, "--html", page]
    answer(capsys, "report", *words)
    assert "<b>&.html" not in page.read_text(encoding="utf-8")


def test_python_dash_m_runs_it(folder: Path) -> None:
    words = [sys.executable, "-m", "hmmtheory", "predict", "x.npy", "y.npy", "--sizes", "6"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{predict_risk(X, Y, 90, [6], 'optimal').risk[0]:.4g}" in done.stdout
    bad = subprocess.run([*words[:3], "guess"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    helped = subprocess.run([*words[:3], "-h"], capture_output=True, text=True, check=False)
    assert "examples:" in helped.stdout


def test_a_verdict_against_it_is_an_exit_status(folder: Path, capsys: Any) -> None:
    np.save(folder / "wild.npy", np.random.default_rng(1).standard_t(1.2, 90) * 5)
    assert main(["diagnose", str(folder / "x.npy"), str(folder / "y.npy")]) == 0
    assert "Trust the prediction" in capsys.readouterr().out
    assert main(["diagnose", str(folder / "x.npy"), str(folder / "wild.npy")]) == 1
    assert "Don't trust the prediction, because of heavy-tailed labels" in capsys.readouterr().out


def test_features_are_compared_by_name(folder: Path, capsys: Any) -> None:
    np.save(folder / "half.npy", X[:, 3:])
    words = [f"all={folder / 'x.npy'}", f"half={folder / 'half.npy'}", folder / "y.npy"]
    found = answer(capsys, "compare", *words, "--labels", 40)
    expected = compare({"all": X, "half": X[:, 3:]}, Y, 40)
    np.testing.assert_allclose(found["risk"], expected.risk, rtol=1e-9)
    assert found["names"] == ["all", "half"]
    assert main(["compare", str(folder / "x.npy"), str(words[1]), str(words[2])]) == 2
    assert "must be NAME=FILE" in capsys.readouterr().err


def test_rows_without_labels_are_read_from_a_file(tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(3)
    x, more = rng.standard_normal((60, 3)), rng.standard_normal((500, 3))
    y = x[:, 0] + rng.standard_normal(60)
    frame = pd.DataFrame(more, columns=list("abc"))
    np.save(tmp_path / "more.npy", more)
    frame.assign(other="text").to_parquet(tmp_path / "more.parquet")
    frame.to_csv(tmp_path / "more.csv", index=False)
    pd.DataFrame(x, columns=list("abc")).assign(y=y).to_csv(tmp_path / "x.csv", index=False)
    expected = predict_risk(x, y, 30, [3], ridge="optimal", unlabelled=more).risk[0]
    assert expected != pytest.approx(predict_risk(x, y, 30, [3], ridge="optimal").risk[0], rel=1e-4)
    for name in ("more.npy", "more.parquet", "more.csv"):
        words = ["predict", str(tmp_path / "x.csv"), "--label", "y", "--labels", "30",
                 "--sizes", "3", "--json", "--unlabelled", str(tmp_path / name)]  # fmt: skip
        if name.endswith("npy"):  # which has no names
            np.save(tmp_path / "x.npy", x)
            np.save(tmp_path / "y.npy", y)
            words[1:4] = [str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
        assert main(words) == 0
        found = json.loads(capsys.readouterr().out)["result"]["risk"][0]
        assert found == pytest.approx(expected, rel=1e-9), name
    assert main([*words[:-1], str(tmp_path / "none.npy")]) == 2
    assert "none.npy" in capsys.readouterr().err


def test_diagnose_holds_rows_without_labels_against_the_rest(tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((60, 3))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", x[:, 0] + rng.standard_normal(60))
    np.save(tmp_path / "more.npy", 3.0 + rng.standard_normal((500, 3)))
    words = ["diagnose", str(tmp_path / "x.npy"), str(tmp_path / "y.npy"), "--json"]
    assert main([*words, "--unlabelled", str(tmp_path / "more.npy")]) in (0, 1)
    found = json.loads(capsys.readouterr().out)["result"]["findings"]
    shift = next(f for f in found if f["name"] == "shift of unlabelled rows")
    assert shift["verdict"] == "caution"
    assert 2.0 < shift["value"] < 5.5


def test_an_interrupt_has_the_status_that_shells_know(monkeypatch: Any, tmp_path: Path) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hmmtheory.practice.command._read", interrupted)
    assert main(["predict", str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]) == 128 + 2


def test_a_list_of_numbers_is_a_column() -> None:
    assert choose(np.arange(4), "y.npy", []).tolist() == [[0], [1], [2], [3]]


def test_names_that_do_not_fit_the_columns_are_refused(tmp_path: Path, capsys: Any) -> None:
    for text, said in (
        ("a,b,y\n1,2,3,4\n5,6,7,8\n", "must have a name for each column; got 3 names, 4 fields"),
        ("a,y,y\n1,2,3\n4,5,6\n", "must name each column once; got 'y' twice"),
    ):
        (tmp_path / "t.csv").write_text(text, "utf-8")
        assert main(["predict", str(tmp_path / "t.csv"), "--label", "y"]) == 2
        assert said in capsys.readouterr().err
    np.savez(tmp_path / "none.npz")
    assert main(["predict", str(tmp_path / "none.npz"), str(tmp_path / "t.csv")]) == 2
    assert "must hold an array; it is empty" in capsys.readouterr().err


def test_a_column_is_chosen_once_and_holds_no_infinity(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n1,2,3\n4,inf,6\n", "utf-8")
    words = ["predict", str(tmp_path / "t.csv"), "--label", "y"]
    assert main(words) == 2
    assert "row 2, column 'b' must be a number; got inf" in capsys.readouterr().err
    assert main([*words, "--column", "a", "--column", "a"]) == 2
    assert "columns must be named once; got a, a" in capsys.readouterr().err
