# make demo     RLHF end to end on this machine, no network beyond the package index
# make check    format, lint, types, import contracts, generated code fresh
# make test     some 11 minutes on two cores; PyPI only
# make help     the rest
.PHONY: help demo test test-system test-learning test-long check protos format bench bench-reward bench-scale clean
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
READY := $(VENV)/.ready
QUICK := not system and not learning and not long

help:
	@sed -n 's/^# //p' Makefile; echo "make test-system test-learning test-long protos format bench bench-reward bench-scale clean"

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@echo "installing pinned dependencies into $(VENV) ..."
	@$(BIN)/python -c 'import sys; sys.exit("plaudit needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,tracing,feedback,dev]'
	@touch $@

demo: $(READY)
	@$(RUN) python examples/demo/run.py $(ARGS)

test: $(READY) # three at a time on two cores: half of its time a test waits for what it started
	@$(RUN) python -m pytest -n 3 -m "$(QUICK) and not ray" $(ARGS)
	@$(RUN) python -m pytest -n 2 --dist loadfile -m "$(QUICK) and ray" $(ARGS)

test-system: $(READY)
	@$(RUN) tests/system/packages.sh
	@$(RUN) python -m pytest -m system -rs $(ARGS)

test-learning: $(READY)
	@$(RUN) python -m pytest -m learning --timeout=7200 $(ARGS)

test-long: $(READY)
	@$(RUN) python -m pytest -m long --timeout=7200 $(ARGS)

check: $(READY)
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) protos/generate.sh lint
	@$(RUN) protos/generate.sh
	@git diff --exit-code --stat protos || (echo "generated code is stale: commit what make protos wrote" && false)

protos: $(READY)
	@$(RUN) protos/generate.sh

format: $(READY)
	@$(RUN) ruff format . && $(RUN) ruff check --fix .

bench: $(READY)
	@for part in bench generation; do $(RUN) python benchmarks/loop/$$part.py $(ARGS) || exit; done

bench-reward: $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@for part in overhead closed_loop overload deadlines latency; do \
		$(RUN) python benchmarks/reward/$$part.py $(ARGS) || exit; \
	done

bench-scale: $(READY)
	@for part in scale overlap weights; do $(RUN) python benchmarks/scale/$$part.py $(ARGS) || exit; done

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
