.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs soak chaos notebooks wheel clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "warren needs Python 3.11 or newer, and '$(PYTHON)' is not. Name another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One environment; each stamp marks a set of extras that is installed in it.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[demo,fast]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[bench,fast]'
	@touch $@

demo: $(VENV)/.demo  ## Run the demonstration
	$(BIN)/warren demo

test: $(VENV)/.dev  ## Run the whole test suite, a file for each processor at once
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(VENV)/.dev  ## Format, lint, types, layers and the examples in the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house/test_docstrings.py tests/house/test_documents.py

bench: $(VENV)/.bench  ## Measure warren beside what else there is
	$(BIN)/python -m benchmarks.operators
	$(BIN)/python -m benchmarks.sqlite
	$(BIN)/python -m benchmarks.recording
	$(BIN)/python -m benchmarks.metrics
	$(BIN)/python -m benchmarks.traces
	$(BIN)/python -m benchmarks.dashboard
	$(BIN)/python -m benchmarks.rabbitmq

docs: $(VENV)/.dev  ## Build the site of the documentation into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

soak: $(VENV)/.bench  ## Run ten million messages through keyed windows; is the memory flat?
	$(BIN)/python -m benchmarks.steps.soak

chaos: $(VENV)/.dev  ## Kill, cut, stall and fill everything, often; prints what became of every message
	$(BIN)/python -m tests.chaos.schedules
	$(BIN)/python -m tests.chaos.run
	$(BIN)/python -m tests.chaos.replay

notebooks: $(VENV)/.dev  ## Run the notebooks and keep what they show
	$(BIN)/python -m tests.apps.notebooks

wheel: $(VENV)/.dev  ## Build the sdist, and the wheel from it, into dist/
	$(BIN)/python -m build --outdir dist .

clean:  ## Remove the environment and everything built
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
