"""The site: every page has its place, and the pages that are written are current."""

import configparser
import doctest
import importlib
import json
import re
from dataclasses import asdict, replace

import pytest
import yaml
from changes import changed_settings
from methods_page import page as methods_page
from paths import DOCS, ROOT
from results_page import MARK, RESULTS, scores
from results_page import page as results_page
from write_pages import PAGES

from ssljax import methods
from ssljax.config.serialize import flatten
from ssljax.recipes import load_recipe
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, which names a function of Markdown's."""


_Loader.add_multi_constructor(
    "tag:yaml.org,2002:python/name:", lambda loader, name, node: name
)
SITE = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), _Loader)


def places(nav):
    """The pages of a navigation, in order."""
    for entry in nav:
        (inner,) = entry.values()
        yield from [inner] if isinstance(inner, str) else places(inner)


def test_the_navigation_has_every_page_once():
    named = list(places(SITE["nav"]))
    assert len(set(named)) == len(named)
    inside = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    outside = set(named) - inside
    assert inside <= set(named), "add the page to `nav` in mkdocs.yml"
    assert all((ROOT / name).is_file() for name in outside)


def test_the_build_is_strict_about_links():
    assert SITE["strict"] is True
    kinds = {"omitted_files", "absolute_links", "unrecognized_links", "anchors"}
    assert SITE["validation"] == dict.fromkeys(kinds, "warn")


def test_no_page_loads_a_script_or_style_from_a_server():
    assert SITE["theme"]["font"] is False
    for name in [*SITE["extra"]["polyfills"], *SITE["extra_css"]]:
        assert (DOCS / name).is_file()
    assert any("iframe-worker" in name for name in SITE["extra"]["polyfills"])


def test_the_reference_names_packages_that_exist():
    named = []
    for page in (DOCS / "api").glob("*.md"):
        named += re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.M)
    assert len(named) > 20
    for name in named:
        path = ROOT / name.replace(".", "/")
        parts = [path, path.with_suffix(".py"), path.parent.with_suffix(".py")]
        assert any(part.exists() for part in parts), name
    theories = {path.parent.name for path in (ROOT / "ssljax/analytic").glob("*/*.py")}
    assert {f"ssljax.analytic.{name}" for name in theories} <= set(named)


def test_pins_cover_the_extra():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    wanted = re.findall(r"^[\w-]+", setup["options.extras_require"]["docs"], re.M)
    text = (DOCS / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert {name.lower() for name in wanted} <= {
        line.split("==")[0].lower() for line in lines
    }


@pytest.mark.parametrize("name", PAGES)
def test_a_written_page_is_current(name):
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), (
        "python docs/generate/write_pages.py"
    )


# docstrings.py and site_hook.py need the environment of `make docs`, which runs theirs.
@pytest.mark.parametrize(
    "name",
    [
        "changes",
        "tables",
        "methods_page",
        "recipes_page",
        "results_page",
    ],
)
def test_examples_of_the_generators(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0 and result.failed == 0


def test_a_family_of_methods_without_a_sentence_is_refused():
    odd = {"mine": replace(methods.METHODS["byol"], family="new")}
    with pytest.raises(ValueError, match=r"no sentence for the families \['new'\]"):
        methods_page(odd)


@pytest.fixture
def results(tmp_path):
    """A folder with one trained recipe that has not changed since."""
    run = tmp_path / "trained" / "simclr"
    run.mkdir(parents=True)
    words = ["ssljax", "pretrain", "cifar10/simclr", "--workdir", "/tmp/runs/simclr"]
    write_json(run / "environment.json", {"launches": [this_launch(words)]})
    config = asdict(methods.resolve(load_recipe("cifar10/simclr")))
    write_json(run / "config.json", config)
    (run / "metrics.csv").write_text("epoch,knn_accuracy,images_per_second\n3,50,9\n")
    return tmp_path


def planted(results, **changes):
    path = results / "trained" / "simclr" / "config.json"
    write_json(path, json.loads(path.read_text()) | changes)
    return results_page(results)


def test_a_result_of_the_same_recipe_is_not_marked(results):
    text = results_page(results).partition("## Trained")[2]
    assert "| `cifar10/simclr` | the same | 3 of 200 |" in text and MARK not in text
    assert "--workdir simclr`" in text and "/tmp" not in text


def test_a_planted_change_of_the_recipe_is_marked_with_its_setting(results):
    text = planted(results, epochs=100).partition("## Trained")[2]
    assert f"| `cifar10/simclr` | {MARK} | 3 of 100 |" in text
    assert "- `epochs` was `100`, is now `200`" in text


def test_files_and_devices_do_not_make_a_result_stale(results):
    log = {"every_steps": 7, "tensorboard": True}
    assert MARK not in planted(results, log=log).partition("## Trained")[2]


def test_a_record_of_a_script_is_marked_by_its_recipe(tmp_path):
    config = asdict(methods.resolve(load_recipe("imagenet/byol")))
    record = {"made": "2026-11-24, by hand", "rows": [{"recipe": "x", "seconds": 2.5}]}
    for decay, expected in ((config["optimizer"]["weight_decay"], 0), (0.5, 1)):
        config["optimizer"]["weight_decay"] = decay
        write_json(tmp_path / "a.json", record | {"configs": {"imagenet_byol": config}})
        text = results_page(tmp_path).partition("## Measurements")[2]
        assert text.count(MARK) == expected and "2026-11-24, by hand" in text
        assert text.count("`optimizer.weight_decay` was `0.5`") == expected
    assert "| x | 2.5 |" in text


def test_a_record_of_bench_is_marked_by_its_recipe(tmp_path):
    flat = flatten(methods.resolve(load_recipe("cifar10/simclr")))
    record = {
        "rows": [{"key": "step", "value": 0.25}],
        "config": flat | {"batch_size": 128},
        "environment": this_launch(["ssljax", "bench", "cifar10/simclr"]),
    }
    write_json(tmp_path / "bench.json", record)
    text = results_page(tmp_path)
    assert "- `batch_size` was `128`, is now `512`" in text
    assert "`ssljax bench cifar10/simclr`; " in text and "| step | 0.25 |" in text


def test_a_result_of_a_recipe_that_is_gone_is_marked(results):
    path = results / "trained" / "simclr" / "environment.json"
    path.write_text(path.read_text().replace("cifar10/simclr", "cifar10/gone"))
    text = results_page(results).partition("## Trained")[2]
    assert f"| `cifar10/gone` | {MARK} |" in text
    assert "- `recipe` was `'cifar10/gone'`, is now `None`" in text


RECORDS = sorted(RESULTS.glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_result_has_a_stamp_and_the_settings_of_its_recipes(path):
    record = json.loads(path.read_text())
    made = record.get("made") or record["environment"]
    if isinstance(made, dict):
        assert made["command"] and made["device"] and made["versions"]["jax"]
        assert re.match(r"\d{4}-\d\d-\d\d", made["started"])
    else:
        assert re.match(r"\d{4}-\d\d-\d\d, JAX ", made)
    rows = record.get("rows", [])
    named = {row["recipe"] for row in rows if "recipe" in row}
    assert named <= record.get("configs", {}).keys()
    assert f"### {path.stem}\n" in (DOCS / "results.md").read_text("utf-8")


def test_readme_has_the_figures_of_the_records():
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme.partition("## Results")[2].partition("## ")[0]
    found = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and re.match(r"\d", cells[2]):
            found[cells[0].partition(",")[0].lower()] = cells[1:]
    runs = {"simclr": "simclr", "isoloss": "isoloss_cosine"}
    assert found.keys() == runs.keys()
    for name, run in runs.items():
        folder = RESULTS / "cifar10_h100" / run
        measured = scores(folder)
        epochs, knn, linear, *_ = found[name]
        assert knn == measured["encoder", "knn k=200"]
        assert linear == measured["encoder", "linear"]
        config = json.loads((folder / "config.json").read_text())
        assert epochs.split(" ")[-1] == f"{config['epochs']}"
        if changed_settings(config, f"cifar10/{run}"):
            assert "have since been fixed" in table
