# Needs Python 3.11 or later, pip and make. What is installed goes into VENV; only `make test` installs more, and only as
# root on Debian: the packages of tests/packages.txt that are missing. APT= keeps it from that.
# Another interpreter: make test PYTHON=python3.13. Arguments for the command that runs: make test ARGS="-k log".
# From a checkout that must not be written to: make test VENV=/somewhere/else. All caches are in VENV too.

PYTHON ?= python3
VENV ?= .venv
APT ?= apt-get
WORKERS ?= 2
ON ?= tmpfs xfs btrfs
ARGS ?=

# In double quotes wherever the shell sees it, for it may hold spaces; the names of targets need them escaped.
empty :=
BIN := $(VENV)/bin
CACHE := $(VENV)/cache
TARGETS := $(subst $(empty) ,\ ,$(VENV))
CORE := $(TARGETS)/.core
SITE := $(TARGETS)/.site
READY := $(TARGETS)/.ready
PIP := "$(BIN)/python" -m pip install --quiet --constraint constraints.txt
PACKAGES := APT="$(APT)" PYTHON="$(PYTHON)" sh tests/install-packages
CODE := $(wildcard src tests bench docs examples)

export RUFF_CACHE_DIR := $(CACHE)/ruff
export MYPY_CACHE_DIR := $(CACHE)/mypy
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test test-elsewhere test-torch packages workloads gallery lint types layers bench docs man dist format clean

help:
	@echo 'make demo            watch ordinary writes tear and untorn writes hold'
	@echo 'make test            lint, types, layers, then all tests'
	@echo 'make test-elsewhere  as root: all tests with temporary files on tmpfs, XFS and btrfs, and as nohup, cron and'
	@echo '                     cautious users would run them'
	@echo 'make test-torch      checkpoints of torch, which is large and installed for this alone'
	@echo 'make workloads       explore every generated sequence of operations: up to an hour on two processors'
	@echo 'make gallery         explore the programs of examples/gallery and write docs/design/gallery.md: a minute'
	@echo 'make bench           measure'
	@echo 'make docs            the documentation as a site, build/docs/index.html'
	@echo 'make dist            wheel and sources, each installed without extras and used, and tests of the sources'
	@echo 'make man             docs/untorn.1 anew, from the help of the commands'
	@echo 'make lint            ruff: rules and format'
	@echo 'make types           mypy, strict'
	@echo 'make layers          import-linter: imports go down only'
	@echo 'make format          let ruff put right what it can'
	@echo 'make packages        as root: install what the tests need from the system'
	@echo 'make venv            only make VENV'
	@echo 'make clean           remove VENV, caches and built files'

# Made anew when a pin or a dependency changes. The second way is for systems that ship venv without ensurepip, the third
# for those that ship neither it nor pip.
$(CORE): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit("untorn needs Python 3.11 or later: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@"$(PYTHON)" -c 'import os, sys; v = sys.argv[1]; sys.exit("VENV=%s holds something else than an environment of Python" % v \
	    if os.path.isdir(v) and os.listdir(v) and not os.path.exists(v + "/pyvenv.cfg") else 0)' "$(VENV)"
	@"$(PYTHON)" -m venv --clear "$(VENV)" 2>/dev/null || { \
	    "$(PYTHON)" -m venv --clear --without-pip "$(VENV)" && \
	    "$(PYTHON)" -m pip --python "$(BIN)/python" install --quiet pip; } 2>/dev/null || { \
	    $(PACKAGES) python3-venv && "$(PYTHON)" -m venv --clear "$(VENV)"; }
	@echo 'Installing untorn into $(VENV) ...'
	@$(PIP) --upgrade pip
	@$(PIP) --build-constraint constraints.txt --editable '.[cli]'
	@touch "$(VENV)/.core"

# What only the documentation needs.
$(SITE): $(CORE)
	@echo 'Installing Sphinx into $(VENV) ...'
	@$(PIP) --group docs
	@touch "$(VENV)/.site"

# What only the tests need: h5py, pandas, pyarrow, astropy and others, some 600 MB.
$(READY): $(CORE)
	@echo 'Installing the tools and libraries of the tests into $(VENV) ...'
	@$(PIP) --group dev
	@touch "$(VENV)/.ready"

venv: $(READY)

demo: $(CORE)
	@"$(BIN)/untorn" demo $(ARGS)

# The ci profile of Hypothesis tries the same examples every time; plain pytest tries new ones.
test test-elsewhere: export HYPOTHESIS_PROFILE ?= ci
test: packages lint types layers
	"$(BIN)/python" -m pytest -o cache_dir="$(CACHE)/pytest" -n $(WORKERS) --dist worksteal $(ARGS)

test-elsewhere: packages
	"$(BIN)/python" -m tests.elsewhere $(ON) -n $(WORKERS) --dist worksteal $(ARGS)

# What cannot be installed is told, and is the reason for which tests are then skipped.
packages: $(READY)
	@NOTE="$(VENV)/missing-packages" $(PACKAGES)

# Not collected by `make test`: torch alone is larger than all the rest.
test-torch: $(READY)
	@echo 'Installing torch into $(VENV) ...'
	@$(PIP) torch
	"$(BIN)/python" -m pytest -o cache_dir="$(CACHE)/pytest" tests/libraries/torch_checkpoints.py $(ARGS)

lint: $(READY)
	"$(BIN)/ruff" check $(CODE)
	"$(BIN)/ruff" format --check $(CODE)

types: $(READY)
	"$(BIN)/mypy" $(CODE)

layers: $(READY)
	"$(BIN)/lint-imports" --no-logo --cache-dir "$(CACHE)/import-linter"

bench: $(CORE)
	@"$(BIN)/python" -m bench $(ARGS)

# -W: a warning, such as a link that leads nowhere, is an error.
docs: $(SITE)
	"$(BIN)/sphinx-build" -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo 'The documentation is in build/docs/index.html'

man: $(SITE)
	"$(BIN)/sphinx-build" -q -W -b man -t man -d build/doctrees-man docs build/man
	cp build/man/untorn.1 docs/untorn.1

# Without ARGS a quick part of the tests is run from the unpacked sources; all with make dist ARGS="tests -n 2".
dist: $(READY)
	"$(BIN)/python" -m tests.dist $(ARGS)

format: $(READY)
	"$(BIN)/ruff" check --fix $(CODE)
	"$(BIN)/ruff" format $(CODE)

clean:
	[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Interrupted, it goes on where it was; docs/design/workloads.md.
workloads: $(READY)
	@"$(BIN)/python" -m tests.workloads $(ARGS)

# The page is replaced when all of it is there.
gallery: $(READY)
	"$(BIN)/python" -m examples.gallery > docs/design/gallery.md.new
	mv docs/design/gallery.md.new docs/design/gallery.md
