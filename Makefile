# `make repro` runs the laboratory, `make test` every test; both set up what they need and are safe to repeat.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro ship test check setup verify verify-gpu study-gpu format page page-assets fuzz

repro: .git setup
	@cnnlab check
	dvc repro
	@echo "To use dvc and cnnlab in this shell: . $(VENV)/bin/activate"

# Missing where the project was unpacked from an archive.
.git:
	@echo "Error: this folder is not a Git repository, which DVC needs: clone the project instead, or first run" >&2
	@echo "git init && git add -A && git commit -m start" >&2
	@exit 2

# The network that `cnnlab predict` uses before any is trained: models/swift.int8.onnx. CONTRIBUTING.md says of which run.
ship: setup
	python tools/ship.py

page: setup
	dvc repro page
	@python -m webbrowser -n "file://$(CURDIR)/report/index.html"

# onnxruntime-web for the page's live part: 26 MB from npm, once.
page-assets: setup
	python -m tools.page_assets

# Two processes, each a file at a time.
test: setup
	@$(MAKE) --no-print-directory lint
	pytest -p no:cacheprovider -n 2 --dist loadfile --no-loadscope-reorder

fuzz: setup
	pytest -p no:cacheprovider tests/test_fuzz.py --hypothesis-profile=fuzz

check: setup
	@$(MAKE) --no-print-directory lint
	pytest -q -m "not slow" -n 2 --hypothesis-profile=check

.PHONY: lint
lint:
	ruff format --check --quiet .
	ruff check --quiet .
	pyright --level warning
	lint-imports --no-cache

format: setup
	ruff format .
	ruff check --fix .

# The two for a GPU need no network: they run with the packages of .venv, else with those of $(PYTHON) itself.
GPU_PYTHON = PYTHONPATH=src $$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON))
MINUTES ?= 30

verify-gpu:
	@$(GPU_PYTHON) tools/verify_gpu.py

study-gpu:
	@$(GPU_PYTHON) -c 'from cnnlab.cli.main import main; main()' study --device cuda --minutes $(MINUTES)

verify: setup
	python tools/verify.py

# UV_TORCH_BACKEND=cpu (or cu128 …) in the environment chooses torch's build; without it comes PyPI's, with CUDA on Linux.
# The stamp is newer than what it was installed from, or everything is installed again (seconds, from uv's cache).
setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	sys.exit(0 if ok else "Error: Python 3.11 to 3.13 is needed, $(PYTHON) is %d.%d; say e.g. make PYTHON=python3.12 $(MAKECMDGOALS)" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (with CUDA several GB the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$(sed -n 's/^uv==//p' constraints.txt)"
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --compile-bytecode --constraint constraints.txt --editable ".[test]"
	@touch $@
	@echo "Ready. In each terminal: . $(VENV)/bin/activate; then, for example, cnnlab predict PICTURE."
