# The targets that authors of DuckDB extensions know. `make demo` and `make test` each work as the first command.

include extension_config/extension.env

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/$(EXTENSION_NAME)/target

comma := ,
VERSIONS := $(subst $(comma), ,$(DUCKDB_TEST_VERSIONS))
OLD_VERSIONS := $(subst $(comma), ,$(DUCKDB_REFUSING_VERSIONS))
VENVS := $(VERSIONS:%=configure/duckdb-%/ready) $(OLD_VERSIONS:%=configure/duckdb-%/ready)
DEMO_PYTHON := configure/duckdb-$(DUCKDB_DEMO_VERSION)/bin/python
WITH_TOOLS := . configure/build.env &&

.PHONY: all configure debug release test test_debug test_release soak demo bench fuzz lint clean clean_all
.DELETE_ON_ERROR:

all: release

configure: configure/build.env $(VENVS)

configure/build.env: scripts/setup.sh scripts/sqlite3_standin.py
	@sh scripts/setup.sh

# One virtual environment per DuckDB version; those that run the tests have their readers and oracles, too.
configure/duckdb-%/ready: test/requirements.txt extension_config/extension.env | configure/build.env
	@$(WITH_TOOLS) sh scripts/venv.sh $*

# Servers that tests talk to, where they can be had.
configure/servers/ready: scripts/servers.sh
	@sh scripts/servers.sh

debug release: %: configure/build.env
	@$(WITH_TOOLS) "$$PYTHON" scripts/build.py $@

test: test_release

test_debug test_release: test_%: % $(VENVS) configure/servers/ready
	@$(WITH_TOOLS) "$$PYTHON" scripts/test.py $*

# The random stress of `make test`, for an hour: LAZYCOGS_SOAK_SECONDS, and LAZYCOGS_SOAK_SEED to have one again.
soak: export LAZYCOGS_SOAK_SECONDS ?= 3600
soak: release configure/duckdb-$(DUCKDB_DEMO_VERSION)/ready
	@$(DEMO_PYTHON) -m pytest -q -s test/python/test_stress.py

demo: release configure/duckdb-$(DUCKDB_DEMO_VERSION)/ready
	@$(DEMO_PYTHON) examples/run_demo.py

# make bench BENCH=W1,W3 BENCH_SOURCES=file BENCH_REPEAT=1; see bench/README.md
bench: release configure/bench/ready
	@$(WITH_TOOLS) configure/bench/bin/python bench/bench.py

configure/bench/ready: bench/requirements.txt bench/requirements-rustac.txt bench/venv.sh | configure/build.env
	@$(WITH_TOOLS) sh bench/venv.sh

# FUZZ_SECONDS for each target, FUZZ_TARGETS to name some.
fuzz: configure/build.env configure/duckdb-$(DUCKDB_DEMO_VERSION)/ready
	@$(WITH_TOOLS) $(DEMO_PYTHON) fuzz/make_seeds.py build/fuzz
	@$(WITH_TOOLS) "$$PYTHON" scripts/fuzz.py $(FUZZ_TARGETS)

lint: configure/build.env configure/lint/ready
	@$(WITH_TOOLS) cargo fmt --check
	@$(WITH_TOOLS) cargo clippy --release --all-targets -- -D warnings
	@configure/lint/bin/ruff check .
	@configure/lint/bin/ruff format --check .

configure/lint/ready: scripts/venv.sh | configure/build.env
	@$(WITH_TOOLS) sh scripts/venv.sh lint

clean:
	rm -rf build

# The compiled dependencies are outside the clone and stay: other clones use them. $(CARGO_TARGET_DIR) can be deleted at any time.
clean_all: clean
	rm -rf configure
