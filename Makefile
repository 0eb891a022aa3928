# `make demo` and `make test` are all a fresh machine needs; both install into .venv.

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

help:
	@echo "make demo   train an NTM on copy on the CPU, measure it, draw its memory (minutes)"
	@echo "make test   run the tests"
	@echo "make check  style and types"
	@echo "make sanitize  the kernel's tests under address and undefined-behaviour sanitizers"
	@echo "make torture  what a run survives: kills, failing disks, rubbish, a long time"
	@echo "make bench  what a training step costs here"
	@echo "make docs   build the documentation site into build/site"
	@echo "make wheel  build the package into dist/"

KERNEL := hatch_build.py $(wildcard src/lightning_ntm/kernels/*/*.[ch]pp)
CORE := $(VENV)/.installed-core
PIP = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e
$(CORE): pyproject.toml constraints.txt $(KERNEL)
	@echo "Installing the package with PyTorch and Lightning into $(VENV), and compiling the CPU kernel ..."
	@python3 -m venv $(VENV)
	@$(PIP) .
	@touch $@

$(INSTALLED): $(CORE)
	@echo "Installing what tests and checks need into $(VENV) ..."
	@$(PIP) ".[dev]"
	@touch $@

install: $(INSTALLED)

# A name of its own each time: a run is never written over.
demo: $(CORE)
	@run=demo-$$(date +%Y%m%d-%H%M%S) && \
	echo "1/3 Training an NTM to copy lists of up to 20 vectors (less than a minute) ..." && \
	$(BIN)/ntm train --config demo --name $$run && \
	echo "2/3 Evaluating it on lists of 10 to 120 vectors ..." && \
	$(BIN)/ntm evaluate runs/$$run --lengths 10,20,40,80,120 && \
	echo "3/3 Plotting its memory while it copies a list of 20 vectors ..." && \
	$(BIN)/ntm figure runs/$$run --lengths 20

# Many tests start interpreters, which would compile the package each time where no bytecode may be written.
test: $(INSTALLED)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/mypy --platform darwin

# The kernel's tests once more, with every access and every undefined operation checked.
SANITIZED := $(VENV)/libntm-sanitized.so
sanitize: $(INSTALLED)
	$(BIN)/python -c "from pathlib import Path; from hatch_build import compile_kernel; compile_kernel( \
	  Path(), Path('$(SANITIZED)'), ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'])"
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	  $(BIN)/python -m pytest -q tests/kernels tests/models --kernel $(SANITIZED) -k "not composes and not without_memory"

# What a run survives: kills, failing disks, rubbish for configurations and files, and a long time.
torture: $(INSTALLED)
	$(BIN)/python -m tests.torture $(TORTURE)

bench: $(INSTALLED)
	$(BIN)/python benchmarks/step.py

# A warning is an error: a link that leads nowhere, a page in no table of contents, a docstring that is not understood.
docs: $(INSTALLED)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/site
	@echo build/site/index.html

wheel: $(INSTALLED)
	$(BIN)/python -m build

.PHONY: help install demo test check sanitize torture bench docs wheel
