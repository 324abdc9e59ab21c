# Targets: quickstart, test, test-slow, doctest, lint, clean.
#
# No target sets JAX_PLATFORMS: the quickstart uses the accelerator JAX finds, and the
# tests choose the CPU themselves.

PYTHON ?= python3
BIN := .venv/bin
QUICKSTART := runs/quickstart
PYTEST_ARGS ?= -n 2

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow doctest lint clean

help:
	@echo "make quickstart  train on generated shapes, evaluate, write the report"
	@echo "make test        the test suite without the slow tests"
	@echo "make test-slow   the slow tests only"
	@echo "make doctest     the examples in the docstrings"
	@echo "make lint        ruff and pyright"
	@echo "make clean       remove caches and build results (keeps .venv and runs)"
	@echo "PYTHON=python3.12 make ... chooses the interpreter of a new .venv"

# The stamp is touched last, so an installation that failed half way is done again.
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
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest $(PYTEST_ARGS) --doctest-modules ssljax

lint: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find ssljax tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +
