"""`ssljax cite`: a BibTeX entry for every method."""

import re

import pytest
import yaml
from paths import ROOT

from ssljax.config import ConfigError
from ssljax.methods import METHODS, Method
from ssljax.methods.papers import PAPERS, paper_of


def fields(entry):
    return dict(re.findall(r"^  (\w+) += \{(.*)\},?$", entry, re.M))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_entry_that_its_row_names(answered, name):
    out = answered("cite", name)
    assert re.match(r"@(inproceedings|misc)\{[a-z]+\d{4}[a-z]+,\n", out)
    assert out.endswith("\n}\n") and out.count("{") == out.count("}")
    read = fields(out)
    assert {"author", "title", "year", "eprint", "archivePrefix"} <= read.keys()
    assert ("booktitle" in read) == out.startswith("@inproceedings")
    cited = re.fullmatch(
        r"(\w+) (?:et al\.|and (\w+)) (\d{4}), arXiv (\S+)", METHODS[name].paper
    )
    if name == "supervised":
        assert cited is None and "supervised baseline" in read["note"]
        return
    first, second, year, number = cited.groups()
    authors = read["author"].split(" and ")
    assert authors[0].startswith(first + ", ")
    assert len(authors) == 2 if second else len(authors) > 2
    assert second is None or authors[1].startswith(second + ", ")
    assert (read["year"], read["eprint"]) == (year, number)


def test_keys_and_numbers_are_unique_and_used():
    assert len({paper.key for paper in PAPERS.values()}) == len(PAPERS)
    assert {paper_of(name).eprint for name in METHODS} == set(PAPERS)
    for paper in PAPERS.values():
        family = paper.authors[0].split(",")[0].lower()
        assert paper.key.startswith(f"{family}{paper.year}")
        assert all(", " in author for author in paper.authors)


def test_methods_of_one_paper_are_cited_once(answered):
    out = answered("cite", "intl", "byol", "intl_ema")
    assert re.findall(r"@\w+\{(\w+),", out) == [
        "weng2024modulate",
        "grill2020bootstrap",
    ]


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_without_a_name_all_methods_are_listed(answered, words):
    out = answered("cite", *words)
    lines = out.splitlines()
    assert lines[0].startswith("usage: ssljax cite METHOD")
    assert [line.split()[0] for line in lines[-len(METHODS) :]] == list(METHODS)


def test_an_unknown_method_is_answered_with_the_nearest(refused):
    line = refused("cite", "simclr", "barlow")
    assert line == (
        "unknown method 'barlow'; did you mean 'barlow_twins'? "
        "(`ssljax cite` lists all methods)"
    )


def test_a_method_without_an_entry_says_so(monkeypatch):
    row = vars(METHODS["simclr"]) | {"paper": "this page"}
    monkeypatch.setitem(METHODS, "mine", Method(**row))
    with pytest.raises(ConfigError, match="no BibTeX entry for 'mine'.*this page"):
        paper_of("mine")


def test_the_software_has_an_entry_that_agrees_with_the_citation_file(answered):
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    out = answered("cite", "ssljax", "byol")
    entry, paper = out.split("\n\n")
    assert entry.startswith("@software{ssljax,") and "grill2020" in paper
    for value in (cited["authors"][0]["name"], cited["version"]):
        assert value in entry
    assert cited["title"] in entry.replace("{JAX}", "JAX")
