# Canopy. `make up` runs it, `make test` checks it; both set up what they need first.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run-$(shell cat requirements.txt pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)
DEV := $(VENV)/.dev-$(shell cat requirements-dev.txt pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --quiet
# One more than there are cores: many tests wait for a disk, a broker, or a process to die.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := -n $(WORKERS) --dist worksteal --cov --cov-report=term --cov-report=xml
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup up test docs lock clean

help:  ## Show what there is to do
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(RUN)  ## Make .venv with exactly what Canopy runs on

up: $(RUN)  ## Run Canopy: broker, actors and gateway; ARGS="--port 8000" for options
	@exec $(BIN)/canopy up $(ARGS)

test: $(DEV)  ## Check format, lint, types, architecture and behaviour
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest $(PYTEST) $(ARGS)

docs: $(RUN)  ## Write the reference anew from the program itself
	@$(BIN)/python -m gateway.reference docs/reference

lock: $(DEV)  ## Write the locks anew from pyproject.toml; UPGRADE=1 takes the latest releases
	@$(LOCK) $(if $(UPGRADE),--upgrade) --group build -o requirements.txt
	@$(LOCK) $(if $(UPGRADE),--upgrade) --group build --group dev -c requirements.txt -o requirements-dev.txt

clean:  ## Remove .venv and everything else that can be made again
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* coverage.xml

# The interpreter: $PYTHON if given, else the first of the usual names that is new enough.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	  python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'Canopy needs Python 3.11 or later, and none was found.' >&2; \
	  echo 'Install one (Debian, Ubuntu: sudo apt-get install python3.12 python3.12-venv), or name one: make PYTHON=/path/to/python3.12' >&2; \
	  exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$python lacks the modules venv and ensurepip." >&2; \
	  echo 'Debian, Ubuntu: sudo apt-get install python3-venv' >&2; \
	  exit 1; \
	fi; \
	rm -rf $(VENV); "$$python" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# A stamp's name holds the checksum of what it stands for: any change of the lock is noticed, and a
# second run costs nothing.
$(RUN): | $(BIN)/python
	@echo 'Installing what Canopy runs on (once) …'
	@$(PIP) install --quiet --require-hashes -r requirements.txt
	@$(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.run-* && touch $@

$(DEV): $(RUN)
	@echo 'Installing what working on Canopy needs (once) …'
	@$(PIP) install --quiet --require-hashes -r requirements-dev.txt
	@rm -f $(VENV)/.dev-* && touch $@
