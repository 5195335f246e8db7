# `make demo` and `make test` do everything on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SAMPLES ?=
ASSAY   ?= dpph
RUNS    ?= 100000

.PHONY: demo test setup lint types unit test-slow cluster cluster-down test-cluster fuzz bench lock clean

## The whole job on a simulated study, or on your own: make demo SAMPLES=my.csv ASSAY=dpph
demo: setup
	@$(BIN)/ms2img demo --assay $(ASSAY) $(if $(SAMPLES),--samples $(SAMPLES))

## Lint, types, tests
test: setup lint
	@$(MAKE) --no-print-directory --jobs=2 types unit

## Only the environment
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"ms2img needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}; try: make setup PYTHON=python3.12")'
	@echo "Setting up $(VENV) (once; about a minute after the downloads) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[all,test]"
	@touch $@

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

unit: setup
	@$(BIN)/python -m pytest -q -m "not slow and not cluster" --durations=10

types: setup
	@$(BIN)/mypy

## What takes longer: minutes, not seconds
test-slow: setup
	@$(BIN)/python -m pytest -q -m "slow and not cluster"

## The whole stack on this machine, without containers: needs redis-server and postgresql. Ctrl-C ends it
cluster: setup
	@$(BIN)/python -m cluster.native up --folder .cluster --wait

cluster-down: setup
	@$(BIN)/python -m cluster.native down --folder .cluster

## Every fault of docs/reliability.md on that stack: a quarter of an hour and more
test-cluster: setup
	@$(BIN)/python -m pytest -q -m cluster

## Coverage-guided fuzzing of every reader (what fails is kept in fuzz-failures/), and property tests on new examples
fuzz: setup
	@$(BIN)/python -m fuzz.readers --runs $(RUNS)
	@MS2IMG_EXPLORE=1 $(BIN)/python -m pytest -q -m "hypothesis and not slow"

## The tables in docs/performance.md
bench: setup
	@$(BIN)/python -m bench.render
	@$(BIN)/python -m bench.folds
	@$(BIN)/python -m bench.train_step measures
	@$(BIN)/python -m bench.schedulers
	@$(BIN)/python -m bench.convert_formats
	@$(BIN)/python -m bench.convert pool
	@$(BIN)/python -m bench.convert workers
	@$(BIN)/python -m bench.convert scale

## Freeze the environment of this machine into constraints.txt (the CPU build's local version is dropped: same pin everywhere)
lock: setup
	@$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' > constraints.txt

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
