# One command for each thing one does with this project. All of them set up what they need.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
LOCK := requirements/lock.txt
CODE := devloop tests examples benchmarks docs
BENCHMARKS ?= start inference loop build watch sync_channel sync forward logs engine

# Each uses what answers; else, on Debian or Ubuntu, it brings up the project's own.
ENGINE := found=$$(tests/cluster/up --env --if-needed --engine) && eval "$$found"
CLUSTER := found=$$(tests/cluster/up --env --if-needed) && eval "$$found"
OUTSIDE := docker or cluster or e2e
# With PYTEST_ARGS="-k NAME" the tests that are meant may all be of the other half: then pytest ends with 5.
CHOSEN_ELSEWHERE := [ $$? = $(if $(findstring -k,$(PYTEST_ARGS)),5,0) ]

.PHONY: help up down test check format lint types unit bench lock build clean conformance podman

help: ## Show these lines
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z]+):.*## (.*)/  make \1: \2/p' $(firstword $(MAKEFILE_LIST))

up: $(INSTALLED) ## Run the quickstart: build, deploy, watch (Ctrl-C ends it)
	@$(ENGINE) && cd examples/quickstart && exec ../../$(BIN)/devloop up

down: $(INSTALLED) ## Remove what `make up` deployed
	@$(ENGINE) && cd examples/quickstart && exec ../../$(BIN)/devloop down

check: format-check lint types unit ## Check format, lint, types, layers, unit tests and docs (under two minutes, no engine)

test: unit ## Run every test, those against the real engine and cluster too; none may be skipped
	@$(CLUSTER) && DEVLOOP_REQUIRE_CLUSTER=1 $(BIN)/pytest -m "$(OUTSIDE)" $(PYTEST_ARGS) || $(CHOSEN_ELSEWHERE)

conformance: $(INSTALLED) ## Hold what is inferred from Dockerfiles against the real builder: 300 generated projects (SEED=…)
	@$(ENGINE) && DEVLOOP_REQUIRE_CLUSTER=1 DEVLOOP_CONFORMANCE_COUNT=300 DEVLOOP_CONFORMANCE_SEED=$(or $(SEED),1) \
	  $(BIN)/pytest tests/conformance $(PYTEST_ARGS)

podman: $(INSTALLED) ## Hold the Docker engine as target against Podman's Docker-compatible service (Debian, root)
	@$(ENGINE) && DEVLOOP_REQUIRE_CLUSTER=1 tests/cluster/podman $(BIN)/pytest -m docker $(PYTEST_ARGS) \
	  tests/adapters/test_docker_cluster.py tests/adapters/test_supervisor_script.py tests/adapters/test_logs_for_real.py

unit: $(INSTALLED) ## Run the tests that need neither engine nor cluster
	$(BIN)/pytest --numprocesses=logical -m "not ($(OUTSIDE))" $(PYTEST_ARGS) || $(CHOSEN_ELSEWHERE)

.PHONY: format-check
format-check: $(INSTALLED)
	$(BIN)/ruff format --check $(CODE)

lint: $(INSTALLED) ## Run ruff and check the layers
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports --no-logo

types: $(INSTALLED) ## Check types with mypy --strict
	$(BIN)/mypy

format: $(INSTALLED) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(INSTALLED) ## Measure devloop from outside, against the figures it should reach
	@$(CLUSTER) && for bench in $(BENCHMARKS); do echo "== $$bench"; $(BIN)/python -m "benchmarks.$$bench" $(BENCH_ARGS); done

lock: $(INSTALLED) ## Lock the newest versions that pyproject.toml allows
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --upgrade --no-header --no-emit-index-url --no-emit-find-links --quiet --output-file $(LOCK)
	@! grep -nE '://|^--(index|extra-index|find)' $(LOCK)

build: $(INSTALLED) ## Build the wheel and the source archive into dist/
	$(BIN)/hatchling build

clean: ## Remove the environment and all caches
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The environment: exactly the locked versions, by hash, and devloop itself in place.
$(INSTALLED): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: devloop needs Python 3.11 or later; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "make: this Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "make: installing into .venv" >&2; $(PYTHON) -m venv --clear .venv; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement $(LOCK)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -qq -j 0 $(BIN)/../lib devloop || true  # whatever the environment says of it: starts are faster
	@touch $@
