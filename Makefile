# `make serve` and `make test` need only Python 3.11, make and, for what is missing, a Debian apt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
APT_PACKAGES := espeak-ng libespeak-ng1 flite chromium libegl1 libgl1 libfontconfig1
# OpenMP threads that spin would take the cores from the event loop and from other sessions.
export OMP_WAIT_POLICY := PASSIVE
# The tested versions. `make setup CONSTRAINTS=` takes the newest that pyproject.toml allows.
CONSTRAINTS ?= -c constraints.txt
INSTALLED := --exclude-editable --exclude triton

.PHONY: serve demo test test-fast lint lock bench gpu-check setup clean

setup: $(READY)

$(READY): pyproject.toml packages/avatar_client/pyproject.toml constraints.txt
	@sh training/debian_packages.sh $(APT_PACKAGES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) \
		-e packages/avatar_client -e '.[dev]'
	touch $@

serve: $(READY)
	$(BIN)/avatar serve

demo: $(READY)
	$(BIN)/python -m client_demo.demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	sh client_demo/check_page.sh
	$(BIN)/python -m server.reference --check

test: lint
	$(BIN)/python -m pytest

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not slow"

# Local version suffixes such as "+cpu" are cut: a build for another device is the same version.
lock: $(READY)
	( sed -n '/^#/p' constraints.txt; \
	  $(BIN)/python -m pip freeze $(INSTALLED) | grep '==' | sed 's/+[^ ]*//' ) > constraints.new
	mv constraints.new constraints.txt

bench: $(READY)
	$(BIN)/python -m benchmarks all

gpu-check: $(READY)
	$(BIN)/python -m benchmarks gpu

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
