"""`ssljax list`: recipes and methods in aligned columns."""

import re

import pytest

from ssljax.commands.tables import columns
from ssljax.methods import METHODS
from ssljax.recipes import RECIPES


def test_columns_are_aligned_on_the_side_that_is_asked_for():
    table = columns([("name", "n", "x"), ("simclr", "1000", "")], right=[1])
    assert table == "name       n  x\nsimclr  1000"


def test_all_recipes_are_listed_with_what_is_known_of_them(answered):
    header, *lines = answered("list", "recipes").splitlines()
    rows = [line for line in lines if line.split(" ")[0] in RECIPES]
    assert [row.split()[0] for row in rows] == list(RECIPES)
    heads = ("name", "epochs", "expected result", "time", "source")
    assert re.split(r"  +", header) == list(heads)
    starts = [header.index(head) for head in heads]
    for row, recipe in zip(rows, RECIPES.values(), strict=True):
        expected = [
            "-" if text == "not yet measured" else text
            for text in (recipe.expected, recipe.time, recipe.source)
        ]
        assert row[starts[2] : starts[3]].strip() == expected[0]
        assert row[starts[3] : starts[4]].strip() == expected[1]
        assert row[starts[4] :] == expected[2]
        epochs = row[starts[1] : starts[1] + len("epochs")]
        assert float(epochs) == recipe.config().epochs and epochs[-1] != " "
    assert any("not yet measured" in line for line in lines if line not in rows)


def test_all_methods_are_listed(answered):
    lines = answered("list", "methods").splitlines()
    assert [line.split()[0] for line in lines] == ["name", *METHODS]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "list needs one of: recipes, methods"),
        (["recipe"], "did you mean 'recipes'?"),
        (["recipes", "more"], "list needs one of: recipes, methods"),
    ],
)
def test_anything_else_is_refused(refused, words, expected):
    assert expected in refused("list", *words)
