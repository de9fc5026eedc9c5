# make demo   open the viewer on the embedded avatar (without a display: render it to avatar.png)
# make test   all tests
# make lint   ruff and pyright
# make soak   random use of the real window; MINUTES=30 SEED=0
# Each first makes .venv with the tested versions, once per change of what is to be installed.

VENV := .venv
BIN := $(VENV)/bin
INSTALL_FROM := pyproject.toml setup.py constraints.txt
# The first Python >= 3.11 that runs; `make PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    && echo $$python && break; done)
MINUTES ?= 30
SEED ?= 0
# Where there is no display, window tests open theirs on a virtual one.
XVFB := $(if $(DISPLAY),,$(if $(shell command -v xvfb-run),xvfb-run -a))

.PHONY: demo test lint soak
demo: $(VENV)/.demo
	$(BIN)/avatar-viewer --or-render avatar.png

test: $(VENV)/.dev
	$(XVFB) $(BIN)/pytest

soak: $(VENV)/.dev
	$(if $(DISPLAY),,xvfb-run -a -s "-screen 0 1400x900x24") \
	    $(BIN)/python tests/viewer/soak.py --minutes $(MINUTES) --seed $(SEED)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

$(VENV)/.demo: $(INSTALL_FROM) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(INSTALL_FROM) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(BIN)/python:
	$(if $(PYTHON),,$(error no Python >= 3.11 found; install one or say make PYTHON=/path/to/python))
	$(PYTHON) -m venv $(VENV) || { rm -f $(BIN)/python; exit 1; }  # half of one is none
