# Targets for developers and CI; `make` lists them. They need Python 3.11 or newer and access to PyPI.
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

install: $(STAMP)  ## Create .venv with the exact versions from requirements.lock.

demo: $(STAMP)  ## Run the whole pipeline once: dataset, embedded servers, worker, WAVs; WEB=1 then serves the page.
	$(BIN)/wavemill demo
	@if [ -n "$(WEB)" ]; then WAVEMILL_HOME=demo/.wavemill $(BIN)/wavemill web; fi

test: $(STAMP)  ## Run all tests; they start the servers that they need.
	$(BIN)/python -m pytest

chaos: $(STAMP)  ## Kill workers and servers under 10,000 jobs on both databases, then audit; CHAOS="--seed N" repeats.
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

lint: $(STAMP)  ## Check style, types and imports between packages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Fix style automatically.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Measure against named baselines; print the ratios and save them in benchmarks/results.
	$(BIN)/python -m benchmarks --keep

lock: $(STAMP)  ## Rewrite requirements.lock from pyproject.toml.
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url --extra test --extra lint pyproject.toml -o requirements.lock

clean:  ## Remove .venv and the files of demo and tests.
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
