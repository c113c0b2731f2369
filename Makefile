# make demo | make test | make deps: each sets up .venv in a fresh clone and does its job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: deps test test-fast lint demo bench clean

deps: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,dev]'
	touch $(STAMP)

# The scripts in program/ are the user's to edit, not modules of ours: they are linted, but not typed.
lint: deps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target build/types .
	rm -rf build/types/ratchetree/program
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p ratchetree
	cd build/types && ../../$(BIN)/lint-imports ../../pyproject.toml

test: lint
	$(BIN)/pytest

test-fast: lint
	$(BIN)/pytest -m "not slow"
