# make demo | make test | make deps: each sets up .venv in a fresh clone and does its job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Where the environment forbids byte code, each worker would rewrite and compile every test again, in each run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: deps system test test-fast lint demo bench clean page picture bench-page

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
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && { apt-get install -y -qq chromium chromium-driver >/dev/null 2>&1 \
	       || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; } >/dev/null; }; } \
	  || echo 'chromium and chromedriver are not installed: the tests of the page are skipped'

# The scripts in program/ are the user's to edit, not modules of ours: they are linted, but not typed.
lint: deps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types build/lib
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target build/types .
	rm -rf build/types/ratchetree/program
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p ratchetree
	cd build/types && ../../$(BIN)/lint-imports ../../pyproject.toml

# Three workers: on two cores two of them would wait for processes a third of the time.
test: lint
	$(BIN)/pytest -n 3 --dist load --maxschedchunk 1

test-fast: lint
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

# Real training: the offline agents search with a beam on the gpt-cpu task, 5 CPU seconds a trial.
demo: deps
	rm -rf demo
	$(BIN)/ratchetree init demo
	$(BIN)/ratchetree run demo --policy beam --experiments 12 --seconds 5
	$(BIN)/ratchetree tree demo
	@echo
	@echo 'The workspace is demo/, a git repository like any other. Look around:'
	@echo '  git -C demo log --first-parent main        what moved main'
	@echo "  git -C demo branch --list 'parked/*'       what did not, each on a branch of its own"
	@echo '  $(BIN)/ratchetree show 1 -C demo    one experiment: idea, trials, verdict'
	@echo '  $(BIN)/ratchetree diff 1 -C demo    what it changed'
	@echo '  $(BIN)/ratchetree run demo --policy beam --experiments 30 --seconds 5    go on'

# The page's script and style, from readable sources; needs npm. What is built is committed.
page:
	cd view/page && npm install --silent --no-audit --no-fund --no-package-lock && npm run --silent build

# The README's picture: a real campaign that was published as a bare table, imported and drawn.
picture: deps
	rm -rf build/picture
	$(BIN)/ratchetree import tests/search/data/h100_mar8_results.tsv build/picture
	mv build/picture 'build/exp H100 mar8'
	$(BIN)/ratchetree plot 'build/exp H100 mar8' --out ratchet.png
	rm -rf 'build/exp H100 mar8'

bench-page: deps
	$(BIN)/python tests/bench/page.py

bench: deps
	$(BIN)/python tests/bench/orchestration.py --experiments 2000
	$(BIN)/python tests/bench/agents.py

clean:
	rm -rf $(VENV) build demo *.egg-info
