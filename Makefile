# backrow. `make` alone says what there is to make.
# Needed: python3 (3.11 or newer, with pip and venv), git, make, and a package registry that pip can reach.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
STAGE := build/stage
WINGS := client server privacy simulations
# tests/ and examples/ come with the repository; benchmarks/ as soon as it holds Python.
SOURCES := $(WINGS) tests benchmarks docs/notebooks $(if $(wildcard examples/*.py),examples)

# Nothing leaves: both libraries send usage statistics unless told not to before they are imported.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

# Real data and published test vectors, where they lie beside the clone; set them yourself to use others.
ifneq ($(wildcard ../shared/data/.),)
export BACKROW_DATA ?= $(abspath ../shared/data)
endif
ifneq ($(wildcard ../shared/vectors/.),)
export BACKROW_VECTORS ?= $(abspath ../shared/vectors)
endif

.DEFAULT_GOAL := help
.PHONY: audit-alone help venv test test-long lint style types contracts stage demo bench clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## .venv/ with everything (made by the other targets when needed)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "backrow needs $(PYTHON) on the PATH: install Python 3.11 or newer, or say make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "backrow needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install venv and pip (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@echo "Installing into $(VENV)/ (about 2 GB, some minutes)"
	@$(PYTHON) -m venv $(VENV)
	@# torch first and pinned: what comes after it would bring a larger build of it.
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[sim,dev]'
	@touch $@

test: $(STAMP) ## every test but the long ones
	$(BIN)/pytest -n $(JOBS) --dist loadgroup -m "not long" $(PYTEST_ARGS)

test-long: $(STAMP) ## every test
	$(BIN)/pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

# Check what is shipped: the wheel, unpacked. Type checkers and import-linter do not follow an editable mapping.
stage: $(STAMP)
	@rm -rf build
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	@$(BIN)/python -m zipfile -e build/wheel/*.whl $(STAGE)

lint: style types contracts ## ruff on the sources; mypy and the import contracts on the unpacked wheel

style: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: stage
	cd $(STAGE) && MYPYPATH=. $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p backrow

contracts: stage
	cd $(STAGE) && PYTHONPATH=. $(CURDIR)/$(BIN)/lint-imports --config $(CURDIR)/pyproject.toml
	$(BIN)/pytest -q tests/architecture/test_imports.py tests/architecture/test_machine_traces.py

# What an auditor installs, and nothing else: no torch, no Flower. She verifies a run and tampers with copies of it.
audit-alone: stage ## verify a run from an environment with backrow[audit] only
	@rm -rf build/audit build/audit-run
	@$(PYTHON) -m venv build/audit
	@build/audit/bin/python -m pip install -q --disable-pip-version-check "$$(ls build/wheel/*.whl)[audit]"
	@build/audit/bin/python -c 'from importlib.util import find_spec; assert not any(map(find_spec, ("torch", "flwr", "ray", "opacus")))'
	@$(BIN)/backrow simulate examples/ml-100k.toml --no-baselines --set trainer=gradient --set model.rounds=2 --out build/audit-run
	build/audit/bin/python -m backrow.privacy.audit verify build/audit-run --key build/audit-run/coordinator.pub
	build/audit/bin/python -m backrow.privacy.audit tamper-demo build/audit-run

demo: $(STAMP) ## train on real viewing data and show what it costs and gives
	$(BIN)/backrow demo $(DEMO_ARGS)

bench: $(STAMP) ## measure quality; results go to benchmarks/results/
	$(BIN)/python benchmarks/quality.py

clean: ## remove what was built, but neither .venv/ nor runs/
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(WINGS) tests -name __pycache__ -type d -prune -exec rm -rf {} +
