"""`ssljax theory map`: the diagram as text and figure, and what it refuses."""

import re
from pathlib import Path

import pytest


def test_the_diagram_is_printed_and_drawn(answered):
    out = answered(
        "theory", "map", "linearized_barlow_twins", "--x", "off_diagonal_weight",
        "--x-range", "0.5", "2", "--y-range", "-0.5", "0.5", "--points", "3",
        "--out", "a/b",
    )  # fmt: skip
    rows = [line.split("|")[1].split() for line in out.splitlines() if "|" in line]
    # Correlations .5, 0 and -.5 from the top: 8 rho is above, at and below 0.
    assert len(rows) == 3 and rows[0] == ["e"] * 3 and rows[2] == ["."] * 3
    assert "recruits and equalises" in out and "closed form at 3 of 3" in out
    path = Path("a/b/phases_linearized_barlow_twins.svg")
    assert path.read_text().startswith("<?xml") and str(path) in out


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "name a loss: ssljax theory map nt_xent --x temperature"),
        (("nt_xnt", "--x", "temperature"), "unknown loss 'nt_xnt'; .* 'nt_xent'?"),
        (("whiten", "--x", "eps"), "whiten has no hyper-parameter to draw; .* nt_xent"),
        (("nt_xent",), "name an axis: --x temperature | correlation"),
        (
            ("vicreg", "--x", "variance_wight"),
            "--x is 'variance_wight', .*; allowed: .*; did you mean 'variance_weight'?",
        ),
        (
            ("nt_xent", "--x", "temperature", "--y", "mu"),
            "--y is 'mu', which nt_xent does not have; allowed: temperature, corr",
        ),
        (("nt_xent", "--x", "correlation"), "--x and --y are both 'correlation'"),
        (
            ("nt_xent", "--x", "temperature", "--x-range", "2", "1"),
            "the range of temperature must ascend to a finite number, got 2 to 1",
        ),
        (
            ("nt_xent", "--x", "temperature", "--x-range", "0", "1"),
            "temperature must be > 0, got 0",
        ),
        (("nt_xent", "--x", "temperature", "--points", "0"), "points must be a whole"),
        (("nt_xent", "--x", "temperature", "--others", "2"), "others must lie in"),
        (("nt_xent", "--x", "temperature", "--pts", "3"), "unknown option '--pts'"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(refused, words, message):
    line = refused("theory", "map", *words)
    assert re.search(message.replace("?", r"\?").replace(" | ", r" \| "), line), line


def test_a_file_in_the_folders_place_is_refused(answered, capfd):
    from ssljax.commands.main import main

    Path("file").touch()
    words = ["theory", "map", "nt_xent", "--x", "temperature", "--out", "file"]
    assert main(words) == 2
    assert "--out is 'file', which already exists as a file" in capfd.readouterr().err
