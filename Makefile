# Targets for people and for CI; `make` lists them. Needs Python 3.11 or newer and the package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test chaos lint format bench lock clean

help:  ## List the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

install: $(STAMP)  ## Make the virtual environment with the exact versions of the lock.

demo: $(STAMP)  ## From nothing to sound: dataset, embedded servers, worker, WAVs.
	$(BIN)/wavemill demo

test: $(STAMP)  ## Run every test against real servers that the tests start themselves.
	$(BIN)/python -m pytest

chaos: $(STAMP)  ## Kill workers and servers under 10,000 jobs on both databases, then audit; CHAOS="--seed N" repeats.
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

lint: $(STAMP)  ## Check style, types and which package may import which.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Mend what can be mended by itself.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Measure against named baselines; prints ratios and keeps them in benchmarks/results.
	$(BIN)/python -m benchmarks --keep

lock: $(STAMP)  ## Write requirements.lock anew from pyproject.toml.
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url --extra test --extra lint pyproject.toml -o requirements.lock

clean:  ## Remove the environment and what demo and tests left.
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
