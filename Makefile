# Needs Python 3.11 or later, pip and make; everything else goes into .venv, and no step needs root.
# Another interpreter: make test PYTHON=python3.13. Arguments for the command that runs: make test ARGS="-k log".

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
CODE := $(wildcard src tests bench)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test lint types layers bench format clean workloads

help:
	@echo 'make demo     watch ordinary writes tear and untorn writes hold'
	@echo 'make test     lint, types, layers, then all tests'
	@echo 'make bench    measure'
	@echo 'make lint     ruff: rules and format'
	@echo 'make types    mypy, strict'
	@echo 'make layers   import-linter: imports go down only'
	@echo 'make format   let ruff put right what it can'
	@echo 'make venv     only make .venv'
	@echo 'make clean    remove .venv, caches and built files'
	@echo 'make workloads    explore every generated sequence of operations: up to an hour on two processors'

# Made anew when a pin or a dependency changes. The second way is for systems that ship venv without ensurepip.
$(CORE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("untorn needs Python 3.11 or later: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv --clear $(VENV) || { \
	    $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	@echo 'Installing untorn into $(VENV) ...'
	@$(PIP) --upgrade pip
	@$(PIP) --build-constraint constraints.txt --editable '.[cli]'
	@touch $@

# What only the tests need: h5py, pandas, pyarrow and others, some 450 MB.
$(READY): $(CORE)
	@echo 'Installing the tools and libraries of the tests into $(VENV) ...'
	@$(PIP) --group dev
	@touch $@

venv: $(READY)

demo: $(CORE)
	@$(BIN)/untorn demo $(ARGS)

# The ci profile of Hypothesis tries the same examples every time; plain pytest tries new ones.
test: export HYPOTHESIS_PROFILE ?= ci
test: lint types layers
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(READY)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(READY)
	$(BIN)/mypy $(CODE)

layers: $(READY)
	$(BIN)/lint-imports --no-logo

bench: $(CORE)
	@$(BIN)/python -m bench $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

clean:
	rm -rf $(VENV) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Interrupted, it goes on where it was; docs/workloads.md.
workloads: $(READY)
	@$(BIN)/python -m tests.workloads $(ARGS)
