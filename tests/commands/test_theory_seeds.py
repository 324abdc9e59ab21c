"""`ssljax theory NAME --seeds`: a row per item, how many draws agree, which do not."""

import json
import re
from pathlib import Path

import jax
import pytest

from ssljax.analytic import checklist as theories
from ssljax.analytic.checklist import Item, NotHere, Theory, at_most
from ssljax.commands import theory_seeds
from ssljax.config.checks import ConfigError

RAN: list[tuple[str, int]] = []


def holds(given):
    RAN.append(("holds", given.seed))
    return [at_most("gap", 0.1, 0.2)]


def depends(given):
    """Hold at the seeds whose draw is small, as a bound that is too tight does."""
    RAN.append(("depends", given.seed))
    if given.seed == 4:
        raise ZeroDivisionError("by\nzero")
    return [at_most("gap", 0.1 * given.seed, 0.15), at_most("other", 0.0, 0.1)]


def fixed(given):
    RAN.append(("fixed", 0))
    return [at_most("gap", 0.1, 0.2)]


def nowhere(given):
    raise NotHere("no photographs here")


LUCK = Theory(
    "luck",
    "a paper",
    [
        Item("1", "it holds", holds),
        Item("2", "it is luck", depends),
        Item("3", "it draws nothing", fixed, seeded=False),
        Item("4", "it is elsewhere", nowhere),
        Item("5", "it measures nothing", lambda given: []),
    ],
)


@pytest.fixture(autouse=True)
def known_theory(monkeypatch, tmp_path):
    monkeypatch.setattr(theories, "NAMES", ("luck",))
    monkeypatch.setattr(theories, "load", {"luck": LUCK}.__getitem__)
    monkeypatch.chdir(tmp_path)
    RAN.clear()


def test_an_item_runs_at_every_seed_and_once_without_one(asked):
    code, out = asked("luck", "--items", 1, 3, "--seeds", "2-5")
    assert code == 0
    assert sorted(RAN) == [("fixed", 0), *(("holds", seed) for seed in range(2, 6))]
    assert re.search(r"1 +agrees +4 of 4 seeds +\d+\.\d s  it holds", out)
    assert re.search(r"3 +agrees +no seed +\d+\.\d s  it draws nothing", out)
    assert "2 of 2 items agree at seeds 2 to 5" in out


def test_a_seed_that_fails_is_named_with_what_it_measured(asked):
    code, out = asked("luck", "--seeds", 6, "--json", "a/b.json")
    assert code == 1
    assert re.search(r"2 +DISAGREES +2 of 6 seeds", out)
    assert re.search(r"! seed 3: gap  0\.3  <= 0\.15", out)
    assert "! seed 4: ZeroDivisionError: by zero" in out
    assert not re.search(r"! seed [01]: gap", out) and "other" not in out
    assert re.search(r"4 +not run", out) and "not run: no photographs here" in out
    assert "! seed 5: nothing was measured" in out
    assert out.count("DISAGREE: luck-2, luck-5") == 1
    read = json.loads(Path("a/b.json").read_text())
    of_luck = read["items"][1]
    assert read["agrees"] is False and of_luck["wrong"] == [2, 3, 4, 5]
    assert of_luck["findings"]["2"][0] == {
        "what": "gap",
        "measured": 0.2,
        "agrees": False,
    }


@pytest.mark.parametrize("text", ["", "0", "5-2", "a", "1-", "-3", "0-9999", "1.5"])
def test_other_ranges_are_refused(text):
    with pytest.raises(ConfigError, match="--seeds"):
        theory_seeds.parse_seeds(text)


@pytest.mark.parametrize("words", [("--out", "x"), ("--seed", "3")])
def test_figures_and_one_seed_are_refused(asked, words):
    code, out = asked("luck", "--seeds", "2", *words)
    assert code != 0 and "leave out --out and --seed" in out and not RAN


def cache() -> str | None:
    return getattr(jax.config, "jax_compilation_cache_dir")  # noqa: B009


def test_programs_are_kept_for_as_long_as_the_seeds_run(monkeypatch):
    before = cache()
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        with theory_seeds.kept_programs():
            folder = Path(cache() or "")
            assert folder.name and folder.is_dir()
        assert cache() is None
        assert not folder.exists()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    with theory_seeds.kept_programs():
        assert cache() == before
