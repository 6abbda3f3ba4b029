# `make` lists the verbs. All of them work in .venv, with the packages pinned in requirements-dev.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PACKAGES := $(VENV)/packages
# Arguments for pytest: make test ARGS='-k events -x'
ARGS ?=
# Processes that run tests: make test WORKERS=0 ARGS=--pdb. A file stays with one of them, its fixtures are shared.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format types bench bench-scale bench-reading faults neighbours versions realworld e2e collector docs site charts requirements clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED) ## run the examples into an embedded database and print what it knows then
	@$(BIN)/python examples/demo.py .demo/observer.db

test: $(INSTALLED) ## run the tests
	$(PYTEST) $(ARGS)

# Processes that the tests start are measured as well, see tests/measure.py.
check: lint types site ## all that CI runs: lint, types, the site, tests with coverage
	@$(BIN)/python tests/measure.py
	@rm -f .coverage .coverage.*
	$(PYTEST) -p tests.measure --cov --cov-report=term $(ARGS)

lint: $(INSTALLED) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## put style and format right where a tool can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

types: $(INSTALLED) ## check types
	$(BIN)/mypy

bench: $(INSTALLED) ## measure what the plugin costs
	$(BIN)/python -m bench.cost --peers $(ARGS)

bench-scale: $(INSTALLED) ## measure 10,000 and 100,000 tests: memory, time, whether all rows arrive (half an hour)
	$(BIN)/python -m bench.scale $(ARGS)

bench-reading: $(INSTALLED) ## measure the commands that read, on ten million rows (1 GB in the temporary directory)
	$(BIN)/python -m bench.reading $(ARGS)

faults: $(INSTALLED) ## kill processes and break servers, a hundred times and at length
	$(BIN)/python -m bench.faults $(ARGS)

neighbours: $(INSTALLED) ## run suites beside other plugins, with older and newer versions of pytest and Python
	$(BIN)/python -m nox --session neighbours -- $(ARGS)

versions: $(INSTALLED) ## run the tests of verdicts, attempts, workers and spans with older and newer versions of pytest and Python, others with the lowest of all dependencies
	$(BIN)/python -m nox --session core lowest -- $(ARGS)

realworld: $(INSTALLED) ## run suites of other projects from PyPI, with the plugin and without
	$(BIN)/python -m bench.realworld $(ARGS)

e2e: $(INSTALLED) collector ## run the tests with the real OpenTelemetry Collector
	$(BIN)/python -m pytest -p tests.required tests/e2e $(ARGS)

collector: ## build the OpenTelemetry Collector that tests use, and a generator of foreign spans, once
	@otel-collector/build.sh
	@tests/servers/telemetrygen.sh

docs: $(INSTALLED) ## make the pages anew that derive from the code, then the site
	$(BIN)/python -m pytest_test_observer._settings_docs > docs/settings.md
	$(BIN)/python -m pytest_test_observer._columns_docs > docs/schema.md
	$(BIN)/python -m pytest_test_observer._ci_docs > docs/ci-systems.md
	$(BIN)/pytest-observer schema print > otel-collector/schema/observer.sql
	$(BIN)/python -m grafana.source
	@$(MAKE) --no-print-directory site

# Warnings are errors: a link to a page or heading that is not there, a page that docs/index.md does not name.
site: $(INSTALLED) ## build the site of the documentation in .site, and check its links
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --nitpicky -c docs . .site
	@echo "the site: .site/docs/index.html"

# What the report draws with, as the registry of npm has it: pinned by version, and by content in SHA256SUMS.
CHARTS := src/pytest_test_observer/_report/static/vendor
UPLOT := 1.6.32
charts: ## get the charting library of the report anew, the version and content that are pinned
	@into=$$(mktemp -d) && npm pack --silent --pack-destination $$into uplot@$(UPLOT) >/dev/null \
	  && tar -xzf $$into/uplot-$(UPLOT).tgz -C $$into \
	  && cp $$into/package/dist/uPlot.iife.min.js $$into/package/dist/uPlot.min.css $(CHARTS)/ \
	  && cp $$into/package/LICENSE $(CHARTS)/uPlot.LICENSE && rm -r $$into
	@cd $(CHARTS) && sha256sum --check SHA256SUMS

requirements: $(VENV)/bin/python ## pin the newest development requirements in requirements-dev.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-find-links --upgrade --quiet --output-file requirements-dev.txt

clean: ## remove what make has made, the environment too
	rm -rf $(VENV) .demo .site build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache

# A virtual environment without pip is one that was interrupted.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Python 3.10 or later is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# Two steps, so that a change of pyproject.toml costs a second and not a minute. --no-deps: the file names every
# package, and older versions of pip take the newest "coverage[toml]" there is and then miss its pin.
$(PACKAGES): requirements-dev.txt | $(BIN)/python
	@echo "Installing packages into $(VENV), once..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

# pytest rewrites the assertions of all plugins that are installed. Where nothing is kept of that (and the tests' own
# processes keep nothing) it is done again in each process that the tests start, half of what such a process takes.
WARM = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q -c examples/basic/pytest.ini --collect-only examples/basic >/dev/null 2>&1 || true

$(INSTALLED): pyproject.toml $(PACKAGES)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(WARM)
	@touch $@
