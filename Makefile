# `make help` lists the targets.
#
# No target but doctest sets JAX_PLATFORMS: the quickstart uses the accelerator that JAX
# finds, and the tests choose the CPU themselves.

PYTHON ?= python3
BIN := .venv/bin
QUICKSTART := runs/quickstart
PYTEST_ARGS ?= -n 2

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow doctest lint docs hooks clean

help:
	@echo "make quickstart  pretrain on generated images, evaluate, write the report"
	@echo "make test        run the quick tests"
	@echo "make test-slow   run the slow tests"
	@echo "make doctest     run the examples in the docstrings"
	@echo "make lint        check style and types with ruff and pyright"
	@echo "make docs        build the site of docs/ and of the API in site/"
	@echo "make hooks       run these checks in git: ruff on commit, pyright on push"
	@echo "make clean       remove caches and build results (keeps .venv and runs)"
	@echo
	@echo "The targets create .venv where it is missing; choose its interpreter with"
	@echo "make TARGET PYTHON=/path/to/python3.12. PYTEST_ARGS replaces '-n 2'."

# The stamp is touched last, so that a failed installation is repeated.
.venv: .venv/.stamp

.venv/.stamp: requirements.txt setup.cfg
	@command -v "$(PYTHON)" >/dev/null || { echo "no interpreter named $(PYTHON);\
	 run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ssljax needs Python 3.11 or newer, $(PYTHON) is $$("$(PYTHON)" -V 2>&1);\
	 run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear .venv
	if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; \
	then $(BIN)/python -m pip install -r requirements.txt; \
	else $(BIN)/python -m pip install -e '.[test,dev]'; fi
	$(BIN)/python -m pip install --no-deps -e .
	touch $@

quickstart: .venv/.stamp
	$(BIN)/ssljax pretrain shapes/quickstart --workdir $(QUICKSTART)
	$(BIN)/ssljax evaluate $(QUICKSTART)
	$(BIN)/ssljax report $(QUICKSTART)

test: .venv/.stamp
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-slow: .venv/.stamp
	$(BIN)/python -m pytest -m slow

doctest: .venv/.stamp
	JAX_PLATFORMS=cpu JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
	$(BIN)/python -m pytest $(PYTEST_ARGS) -p rare_collection --doctest-modules ssljax

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The site is built from sources alone, so its environment has no JAX. Its doctests are here
# because they need that environment.
.venv-docs/.stamp: docs/requirements.txt
	"$(PYTHON)" -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install -r $<
	touch $@

docs: .venv-docs/.stamp
	.venv-docs/bin/python -m doctest docs/generate/docstrings.py \
	  docs/generate/site_hook.py
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

# pre-commit only starts the tools of .venv, so it is in no list of requirements.
hooks: .venv/.stamp
	$(BIN)/python -m pip install "pre-commit>=4"
	$(BIN)/pre-commit install

clean:
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache
	find ssljax tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +
