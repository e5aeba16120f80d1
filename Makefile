# Needs make and Python 3.11 or newer; everything else is installed into .venv, pinned by version and hash.
# `make` alone lists the targets. ARGS goes to the command behind a target: make demo ARGS="--questions my.txt"

PYTHON ?= python3
ARGS ?=
EXTRAS ?=
COMMA := ,
# Tests of one file run one after the other, files side by side: most of them wait for servers and their timeouts.
JOBS ?= 6
BIN := .venv/bin
STAMP := .venv/.setup-done
SBOM ?= sbom.json
SEQUENCES ?= 10000
# Tools of other projects' making, in a place of their own: nothing that runs or tests questream depends on them.
AUDIT := .cache/audit
AUDIT_STAMP := $(AUDIT)/.done
PEERS := .cache/peers
PEERS_STAMP := $(PEERS)/.done
LINTED := .cache/lint.log
# Without --only-binary a package that has no wheel here would be built with tools that no hash pins.
# The comparisons have one that has a wheel nowhere.
UNBUILT := --no-binary drain3
INSTALL := $(BIN)/uv pip install --python $(BIN)/python --require-hashes --only-binary :all:

# Where it is set, importing sentence-transformers costs 20 s every time.
unexport PYTHONDONTWRITEBYTECODE
# The locks alone say what is installed, and .venv alone is where; not what the caller's shell happens to hold.
unexport PIP_FIND_LINKS PIP_TARGET PIP_USER PIP_REQUIREMENT PIP_CONSTRAINT UV_FIND_LINKS UV_CONSTRAINT
unexport UV_SYSTEM_PYTHON VIRTUAL_ENV PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help setup demo test linted tested servers rewritten lint format bench peers faults faults-report mutants fuzz overload machine audit sbom page-picture lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install questream and its tools into .venv; EXTRAS=quality,plots: what an extra needs, too
	@for extra in $(subst $(COMMA), ,$(EXTRAS)); do \
	  case $$extra in \
	    confluent|embedded|mcp|plots|serve|train|dev) $(INSTALL) --constraint requirements.lock -r pyproject.toml --extra $$extra ;; \
	    quality) $(INSTALL) $(UNBUILT) -r quality.lock ;; \
	    indexes) $(INSTALL) -r indexes.lock ;; \
	    all) $(INSTALL) $(UNBUILT) -r requirements.lock -r quality.lock -r indexes.lock ;; \
	    *) echo "there is no extra '$$extra'; there are confluent, embedded, mcp, plots, serve, train, dev, quality, indexes and all" >&2; exit 2 ;; \
	  esac || exit; \
	done

$(STAMP): requirements.lock bootstrap.lock pyproject.toml
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "questream needs Python 3.11 or newer, and there is no '$(PYTHON)'; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "questream needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version); name a newer one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "[1/3] An environment of its own in .venv, and the installer"
	@# A folder that an interrupted run left behind is made anew.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@echo "[2/3] The packages; PyTorch is most of the download, 2 to 3 GB on Linux"
	@$(INSTALL) -r requirements.lock
	@echo "[3/3] questream"
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation -e .
	@# The first start of a model takes seconds more: Python compiles what it imports, and sentence-transformers is asked
	@# for the vectors that later starts are held to. Here, not while somebody waits. The rest of the packages nobody imports.
	@$(BIN)/python -c 'from questream.embedded import bundled_model; from questream.encoder import load_encoder; \
	  from questream.settings import ModelSettings; load_encoder(ModelSettings(name=str(bundled_model()), device="cpu"))'
	@touch $@
	@echo "Ready: 'make demo' shows it at work, 'make' lists the rest"

demo: $(STAMP) ## Cluster 2,000 real questions live in this terminal; no server needed
	@$(BIN)/questream demo $(ARGS)

test: $(STAMP) ## All checks: lint, types, unit tests and those on real servers (Kafka, Redis)
	@# Style and types compute while tests wait. What they say comes last, in one piece.
	@$(MAKE) --no-print-directory --jobs 3 linted tested; code=$$?; cat $(LINTED); exit $$code

linted: $(STAMP)
	@mkdir -p $(dir $(LINTED))
	@$(MAKE) --no-print-directory lint >$(LINTED) 2>&1

tested: servers rewritten
	@# In the order of tests/conftest.py: unit tests compute while others wait for servers. Threads of a model that have
	@# nothing to do must not spin, as those of BLAS always do: the cores are other tests' meanwhile.
	@OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Pytest rewrites each test file once for its bytecode: left to them, all processes of a parallel run would do it at once.
rewritten: $(STAMP)
	@$(BIN)/pytest --collect-only --quiet --quiet >/dev/null || { $(BIN)/pytest --collect-only --quiet --quiet; exit 1; }

servers: $(STAMP) ## Fetch Apache Kafka for the tests; once, into .cache
	@$(BIN)/python -m tests.kit.servers

lint: $(STAMP) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Rewrite the code in the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure the pipeline on this machine
	@$(BIN)/questream bench pipeline $(ARGS)

faults: servers ## Random faults on real servers, each judged: FAULTS=200 SEED=7 make faults; a seed is resumed
	@$(BIN)/python -m tests.kit.campaign $(ARGS)

faults-report: $(STAMP) ## Add up the campaigns on this machine by commit
	@$(BIN)/python -m tests.kit.campaign --report $(ARGS)

mutants: servers ## Each guard taken out, one at a time: which test misses it; ARGS="--only commit.lua --jobs 2", --list
	@$(BIN)/python -m tests.kit.mutants $(ARGS)

fuzz: $(STAMP) ## A million hostile records through the decoder, 100,000 through a worker; ARGS="--seed 7" repeats
	$(BIN)/python -m tests.kit.fuzz decoder $(ARGS)
	$(BIN)/python -m tests.kit.fuzz settings $(ARGS)
	$(BIN)/python -m tests.kit.fuzz worker $(ARGS)

overload: servers ## Three times what a worker can do for ten minutes; ARGS="--seconds 60" for one
	@$(BIN)/python -u -m tests.kit.overload $(ARGS)

machine: servers ## The two stores compared over 10,000 random sequences of calls; SEQUENCES=500 for fewer, SEED=7 repeats
	QUESTREAM_SEQUENCES=$(SEQUENCES) $(BIN)/pytest --timeout 0 --numprocesses auto --dist load tests/contract/test_machine.py $(ARGS)

audit: $(AUDIT_STAMP) ## Known vulnerabilities of the locked packages; asks a service, skipped without one
	@.ci/audit $(AUDIT)/audit.log $(AUDIT)/bin/pip-audit $(ARGS)

peers: $(PEERS_STAMP) ## questream beside other ways; ARGS="--bootstrap-servers HOST:PORT --redis-url URL"
	@$(BIN)/questream bench peers --python $(PEERS)/bin/python $(ARGS)

$(PEERS_STAMP): peers.lock | $(STAMP)
	@$(BIN)/uv venv --quiet --clear --no-project --python $(BIN)/python $(PEERS)
	@$(BIN)/uv pip install --quiet --python $(PEERS) --require-hashes -r peers.lock
	@touch $@

sbom: $(AUDIT_STAMP) ## A bill of materials of the locked packages with their hashes: SBOM=sbom.json, in CycloneDX
	@$(AUDIT)/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-format JSON --output-reproducible --output-file $(SBOM)
	@echo "$(SBOM): every package of requirements.lock"

$(AUDIT_STAMP): audit.lock | $(STAMP)
	@$(BIN)/uv venv --quiet --clear --no-project --python $(BIN)/python $(AUDIT)
	@$(BIN)/uv pip install --quiet --python $(AUDIT) --require-hashes --no-build -r audit.lock
	@touch $@

page-picture: $(STAMP) ## Draw README's picture of the page anew; needs Chromium
	@$(BIN)/python -m tests.kit.page_picture docs/page.png

lock: $(STAMP) ## Write the locks anew from pyproject.toml (ARGS=--upgrade for newer versions)
	$(BIN)/uv pip compile pyproject.toml --group build --extra embedded --extra dev -o requirements.lock $(COMPILE) $(ARGS)
	$(BIN)/uv pip compile pyproject.toml --group quality --constraint requirements.lock -o quality.lock $(COMPILE) $(ARGS)
	$(BIN)/uv pip compile --group indexes --constraint requirements.lock -o indexes.lock $(COMPILE) $(ARGS)
	echo uv | $(BIN)/uv pip compile - -o bootstrap.lock $(COMPILE) $(ARGS)
	{ printf '%s\n' bytewax crc32c kafka-python lz4 orjson quixstreams; sed -nE 's/^((torch|transformers|tokenizers|sentence-transformers)==[^ ]*).*/\1/p' requirements.lock; } | \
	  $(BIN)/uv pip compile - -o peers.lock $(COMPILE) $(ARGS)
	printf 'cyclonedx-bom\npip-audit\n' | $(BIN)/uv pip compile - -o audit.lock $(COMPILE) $(ARGS)

# The locks hold for every platform and Python, and name no registry.
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock'

clean: ## Remove .venv, the cached servers and everything else that can be made again
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
