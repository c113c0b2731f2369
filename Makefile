# make demo | make test | make deps: each sets up .venv in a fresh clone and does its job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: deps system test test-fast lint demo bench clean

deps: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,dev]'
	$(MAKE) --no-print-directory system
	touch $(STAMP)

# What is no Python package. Only root can install it; anybody else is told what is missing, by `ratchetree doctor` too.
system:
	@command -v bwrap >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && { apt-get install -y -qq bubblewrap >/dev/null 2>&1 \
	       || { apt-get update -qq && apt-get install -y -qq bubblewrap; } >/dev/null; }; } \
	  || echo 'bubblewrap is not installed: trials are confined by Landlock if the kernel has it (ratchetree doctor)'

# The scripts in program/ are the user's to edit, not modules of ours: they are linted, but not typed.
lint: deps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target build/types .
	rm -rf build/types/ratchetree/program
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p ratchetree
	cd build/types && ../../$(BIN)/lint-imports ../../pyproject.toml

# Two workers: on two cores the suite takes about five minutes.
test: lint
	$(BIN)/pytest -n 2

test-fast: lint
	$(BIN)/pytest -n 2 -m "not slow"

# Real training: the offline agents search with a beam on the gpt-cpu task, 8 CPU seconds a trial.
demo: deps
	rm -rf demo
	$(BIN)/ratchetree init demo
	$(BIN)/ratchetree run demo --policy beam --experiments 14 --seconds 8
	$(BIN)/ratchetree tree demo
	@echo
	@echo 'The workspace is demo/, a git repository like any other. Look around:'
	@echo '  git -C demo log --first-parent main        what moved main'
	@echo "  git -C demo branch --list 'parked/*'       what did not, each on a branch of its own"
	@echo '  $(BIN)/ratchetree show 1 -C demo    one experiment: idea, trials, verdict'
	@echo '  $(BIN)/ratchetree diff 1 -C demo    what it changed'
	@echo '  $(BIN)/ratchetree run demo --policy beam --experiments 30 --seconds 8    go on'

bench: deps
	$(BIN)/python tests/bench/orchestration.py --experiments 2000
	$(BIN)/python tests/bench/agents.py

clean:
	rm -rf $(VENV) build demo *.egg-info
