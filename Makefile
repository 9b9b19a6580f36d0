# Every command of the project. `make demo` and `make test` work on a fresh clone and may be run again at any time.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# torch goes in first and alone; everything after it is held by the constraints file (docs/decisions/0001).
TORCH := $(shell grep '^torch==' constraints.txt)

export PYTHON
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: demo test lint format types pytest wheel docs clean help

demo: $(INSTALLED) ## the whole pipeline on a synthetic raw case
	@rm -rf demo
	$(BIN)/hope synth 1 -o demo/cases --seed 11 --kind rim_enhancing
	$(BIN)/hope segment demo/cases -o demo/out

test: lint types pytest ## everything that has to hold: ruff, mypy, pytest

lint: $(INSTALLED) ## ruff: rules and format, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict on src/hope
	$(BIN)/mypy

pytest: $(INSTALLED) ## the tests alone; PYTEST_ARGS="-k name" chooses some
	$(BIN)/python -m pytest $(PYTEST_ARGS)

format: $(INSTALLED) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED) ## write docs/reference/cli.md anew from the commands
	$(BIN)/python tools/make_cli_docs.py

wheel: $(INSTALLED) ## dist/hope_platform-<version>-py3-none-any.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls -l dist

clean: ## remove what was made, except .venv
	rm -rf demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

$(INSTALLED): pyproject.toml constraints.txt
	@python=$$(tools/find-python.sh) || exit 1; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making $(VENV) with $$python"; $$python -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/python -m pip check
	@touch $@
