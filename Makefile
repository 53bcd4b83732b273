# Two commands do all the set-up on a fresh machine: `make compare` (the main job) and `make test`.
PYTHON ?= python3
SHELL := bash
.SHELLFLAGS := -eo pipefail -c
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

# Modules are compiled once, not in every process that a test starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help compare answer bench bench-compare browser docs docs-links test test-half test-rest test-all test-gpu mutate lint format install clean

help:
	@echo "make compare    the main job: backprop, Mono-Forward, Forward-Forward and frozen blocks on embedded data"
	@echo "make answer     on an NVIDIA GPU: costs in joules, experiment 1, clocks (MINUTES=25 DATA=DIR GPU_PYTHON=python3)"
	@echo "make docs       the documentation as a site: docs/_build/index.html; warnings are errors"
	@echo "make docs-links every link from the documentation to another site, asked over the network"
	@echo "make test       lint, types, layers, tests (minutes)"
	@echo "make browser    installs a Chromium for the tests of pages, which are skipped without one"
	@echo "make test-all   the slow tests too (set BPFREE_DATA for those on MNIST and CIFAR)"
	@echo "make test-gpu   the tests that need an NVIDIA GPU"
	@echo "make bench      time everything beside torch's own step (half an hour); make bench-compare: what became slower"
	@echo "make mutate     change single lines and list the changes that no test sees (MUTANTS=150 MODULES= SEED=0 CHOSEN=)"

# Pinned: constraints.txt holds every version that was tested, torch exactly (a range would pull gigabytes of CUDA).
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

install: $(READY)

compare: $(READY)
	$(BIN)/bpfree compare $(if $(OUT),--out $(OUT)) $(OPTIONS)

# GPU_PYTHON: a python that has torch for this GPU already, with what bpfree needs; nothing is then installed.
answer: $(if $(GPU_PYTHON),,$(READY))
	$(or $(GPU_PYTHON),$(BIN)/python) benchmarks/answer.py --device cuda --max-minutes $(or $(MINUTES),25) $(if $(DATA),--data-dir $(DATA)) $(if $(OUT),--out $(OUT)) $(OPTIONS)

# Ratios to torch's own step of the same run: they hold on another machine better than seconds do.
bench: $(READY)
	$(BIN)/python benchmarks/bench.py $(OPTIONS)

bench-compare: $(READY)
	$(BIN)/python benchmarks/bench.py --compare $(OPTIONS)

# The pages of docs as they are, and those that are made of the code (tools/docs_pages): rules, commands, columns, Python.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,docs]"
	$(BIN)/python -m sphinx -W --keep-going --quiet --builder html docs docs/_build
	@echo "docs/_build/index.html"

# For tests/browser: Debian's Chromium where none is there, and axe-core; what cannot be installed is said, and its tests are skipped.
browser: $(READY)
	bash tools/browser/install.sh

docs-links: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,docs]"
	$(BIN)/python -m sphinx --quiet --builder linkcheck docs docs/_build/links

# Two processes, each with half of the time. (One pool of workers takes a minute longer: every worker collects all tests.)
IN_LINES = $(BIN)/python -c "import sys; [print('$@:', line, end='', flush=True) for line in sys.stdin]"
HALF := algorithms bench meter report testing train
test: lint
	@$(MAKE) --no-print-directory -j2 test-half test-rest

test-half:
	$(BIN)/python -m pytest $(HALF:%=tests/%) $(PYTEST) | $(IN_LINES)

test-rest:
	$(BIN)/python -m pytest $(HALF:%=--ignore=tests/%) $(PYTEST) | $(IN_LINES)

test-all: lint
	@tools/postgres.sh
	$(BIN)/python -m pytest -m "not gpu" --timeout 7200 $(PYTEST)

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu $(PYTEST)

# Not part of CI: half an hour on two cores. The lists: tests/mutation.toml and tests/mutation-survivors.toml.
mutate: $(READY)
	$(BIN)/python -m tools.mutation --mutants $(or $(MUTANTS),150) --seed $(or $(SEED),0) $(if $(CHOSEN),--chosen) $(MODULES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist docs/_build docs/generated .pytest_cache .ruff_cache .hypothesis .import_linter_cache .mutation
