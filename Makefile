# What a developer can do: `make help`. Everything runs in .venv, installed from constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-all docs-test bench docs pictures lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "error: $(PYTHON) is not Python 3.11 to 3.13; choose one that is: make PYTHON=python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing (once; takes a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[openvino]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing the development tools (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,onnx,openvino,search,int8]'
	@touch $@

demo: $(VENV)/installed ## sample images, their features, a fitted head and its metrics, in a few minutes
	@$(BIN)/extract sample digits $(DEMO)/digits
	$(BIN)/extract run $(DEMO)/digits --pooling max --out $(DEMO)/store
	$(BIN)/store verify $(DEMO)/store
	$(BIN)/fit head --features $(DEMO)/store --out $(DEMO)/head --force --evaluate-test
	$(BIN)/fit predict $(DEMO)/head $(DEMO)/digits/3/0003.png $(DEMO)/digits/8/0008.png --top 3
	@echo "The images are in $(DEMO)/digits, their features in $(DEMO)/store, the head and its metrics in $(DEMO)/head."
	@echo "Run make demo again: nothing is computed twice. Fit another head: $(BIN)/fit head --features $(DEMO)/store --head forest"

# Tests run side by side on all cores: threads of one matrix product that wait for each other take many times as long
# (fit/heads/threads.py).
test test-all docs-test: export OPENBLAS_NUM_THREADS := 1
test test-all docs-test: export OMP_NUM_THREADS := 1

test: $(VENV)/installed-dev ## linters, types and tests; CI runs this
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-all: $(VENV)/installed-dev ## the slow tests too: every backbone, PyTorch, killed runs (hours)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0'
	$(BIN)/pytest -n 2 --dist worksteal

docs-test: $(VENV)/installed-dev ## run the commands of README.md and docs/, and compare what they print (ten minutes)
	$(BIN)/pytest tests/test_recipes.py

bench: $(VENV)/installed-dev ## measure speed, storage, memory and planning (hours); writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.run

docs: $(VENV)/installed-dev ## generate docs/help.md from the commands
	$(BIN)/python -m docs.make_help

pictures: $(VENV)/installed-dev ## draw docs/pictures/ again from a real run (a minute)
	$(BIN)/python -m docs.make_pictures

lock: $(VENV)/installed-dev ## update constraints.txt from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --upgrade --all-extras \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o constraints.txt

clean: ## delete the environment and the demo
	rm -rf $(VENV) $(DEMO)
