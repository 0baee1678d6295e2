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
# Tests run in two processes, each test file in one of them.
PYTEST_PROCESSES ?= -n 2 --dist loadfile
INSTALLED := --exclude-editable --exclude triton

.PHONY: help serve demo test test-fast test-nightly lint lock bench attack soak gpu-check setup clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

setup: $(READY) ## install into .venv

$(READY): pyproject.toml packages/avatar_client/pyproject.toml constraints.txt
	@sh training/debian_packages.sh $(APT_PACKAGES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) \
		-e packages/avatar_client -e '.[dev]'
	touch $@

serve: $(READY) ## start the server
	$(BIN)/avatar serve

demo: $(READY) ## send a sentence through a server, write demo.mp4
	$(BIN)/python -m client_demo.demo

lint: $(READY) ## ruff, mypy, import rules, generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	sh client_demo/check_page.sh
	$(BIN)/python -m server.reference --check
	$(BIN)/python -m tests.support.faults.page --check

# Everything. Tests on the real clock come last, alone, as they are late on a busy machine.
test: lint ## lint, then all tests
	$(BIN)/python -m pytest $(PYTEST_PROCESSES) --durations=20 -m "not realtime and not nightly"
	$(BIN)/python -m pytest --durations=20 -m "realtime and not nightly"

test-nightly: $(READY) ## tests that take minutes
	$(BIN)/python -m pytest --durations=20 -m nightly

# Some tests of every package, in less than two minutes on two idle cores; no lint.
test-fast: $(READY) ## tests that are neither slow nor on the real clock
	$(BIN)/python -m pytest $(PYTEST_PROCESSES) -m "not slow and not realtime and not nightly"

# Local version suffixes such as "+cpu" are cut: a build for another device is the same version.
lock: $(READY) ## write the installed versions to constraints.txt
	( sed -n '/^#/p' constraints.txt; \
	  $(BIN)/python -m pip freeze $(INSTALLED) | grep '==' | sed 's/+[^ ]*//' ) > constraints.new
	mv constraints.new constraints.txt

bench: $(READY) ## measure on this machine
	$(BIN)/python -m benchmarks all

attack: $(READY) ## attack a server in every known way, about an hour
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[attack]'
	$(BIN)/python -m benchmarks attack --suites

soak: $(READY) ## one session for an hour, a day on a virtual clock, all nightly tests
	$(BIN)/python -m benchmarks server-soak
	$(BIN)/python -m pytest --durations=20 -m nightly

gpu-check: $(READY) ## tests and measurements on a GPU
	$(BIN)/python -m benchmarks gpu

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
