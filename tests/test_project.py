"""The files around the package: workflows, hooks, issue forms, citation, pages."""

import configparser
import re
import shlex

import pytest
import yaml
from paths import ROOT

import ssljax

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"))  # not config.yml
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M))
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg")


def loaded(path):
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_make_targets_and_nothing_else(path):
    flow = loaded(path)
    # YAML 1.1 reads the key `on` as true.
    assert flow["name"] and flow[True] and flow["permissions"] == {"contents": "read"}
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] <= 180
        matrix = job.get("strategy", {}).get("matrix", {})
        runs = [step["run"] for step in job["steps"] if "run" in step]
        assert runs
        for run in runs:
            for target in matrix.get("target", [None]):
                line = run.replace("${{ matrix.target }}", target or "")
                program, name, *_ = line.split()
                assert program == "make" and name in TARGETS


def test_the_quick_tests_run_on_every_python_that_is_promised():
    (path,) = (path for path in WORKFLOWS if path.stem == "tests")
    promised = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    assert loaded(path)["jobs"]["tests"]["strategy"]["matrix"]["python"] == promised


def test_hooks_run_the_tools_of_make_lint():
    lint = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    commands = set(re.findall(r"^\t\$\(BIN\)/(\w+(?: check| format)?)", lint, re.M))
    (repo,) = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = {hook["entry"].removeprefix(".venv/bin/") for hook in repo["hooks"]}
    assert repo["repo"] == "local" and len(hooks) == len(commands)
    assert all(hook.startswith(tuple(commands)) for hook in hooks)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_those_that_github_takes(path):
    form = loaded(path)
    assert form.keys() <= {"name", "description", "labels", "title", "body"}
    assert form["name"] and 0 < len(form["description"]) <= 200
    identifiers = [part["id"] for part in form["body"]]
    assert len(set(identifiers)) == len(identifiers)
    for part in form["body"]:
        assert part["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert re.fullmatch(r"[\w-]+", part["id"]) and part["attributes"]["label"]
        if part["type"] in {"dropdown", "checkboxes"}:
            assert part["attributes"]["options"]


def test_the_citation_is_complete_and_of_this_version():
    cited = loaded(ROOT / "CITATION.cff")
    # Those that the Citation File Format 1.2.0 requires.
    assert {"authors", "cff-version", "message", "title"} <= cited.keys()
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert all(author.keys() & {"name", "family-names"} for author in cited["authors"])
    assert str(cited["version"]) == ssljax.__version__
    assert cited["license"] == SETUP["metadata"]["license"]


def test_types_are_shipped():
    assert (ROOT / "ssljax" / "py.typed").is_file()
    assert "py.typed" in SETUP["options.package_data"]["ssljax"].split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_make_targets_of_a_page_exist(page):
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:|#", link):
            assert (page.parent / link.split("#")[0]).exists(), link
    for line in re.findall(r"`(make [^`]+)`|^\s*(make .+)$", text, re.M):
        words = shlex.split("".join(line), comments=True)[1:]
        named = [word for word in words if re.fullmatch(r"[a-z-]+", word)]
        assert set(named) <= TARGETS, line


def test_the_new_names_of_renamed_modules_exist():
    page = (ROOT / "CHANGELOG.md").read_text("utf-8")
    rows = re.findall(r"^\| `(ssljax[.\w]+)`.*? \| (.+) \|$", page, re.M)
    assert len(rows) > 25
    for before, now in rows:
        new = re.findall(r"`((?:ssljax|experiments)[./][\w./]+)`", now.split(";")[0])
        assert new, now
        for name in new:
            path = ROOT / name.removesuffix(".py").replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), name
        assert not (ROOT / f"{before.replace('.', '/')}.py").exists(), before
