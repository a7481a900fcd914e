# Everything runs in .venv, and SGLang in .venv-sglang; both are made on first use. uv is taken from the path, or
# installed beside them. `make TORCH_BACKEND=cu126` takes another build of torch (.ci/install-torch), `make PYTHON=3.12`
# another Python; constraints.txt is for these.
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)
PYTHON ?= >=3.11,<3.14
RUN := .venv/bin
CHROMIUM ?= $(firstword $(foreach each,chromium chromium-browser google-chrome,$(shell command -v $(each) 2>/dev/null)))
export PYTHONPATH :=

.PHONY: demo demo-sglang sglang test view-test chromium exact fuzz faults lint check build format bench clean

demo: .venv/installed
	$(RUN)/streamdocs demo

demo-sglang: .venv/installed .venv-sglang/installed
	$(RUN)/streamdocs demo --sglang --out demo-sglang

sglang: .venv-sglang/installed

test: .venv/installed .venv-sglang/installed .venv-sky/installed
	$(RUN)/pytest -n 2 --dist loadgroup

# The pages of `streamdocs view` in Chromium; with SHOTS=folder, screenshots at three widths, light and dark.
view-test: .venv/installed chromium
	VIEW_TEST=1 CHROMIUM='$(CHROMIUM)' $(RUN)/pytest tests/view/test_browser.py

# Debian's, where none is found.
chromium:
	$(if $(CHROMIUM),,apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends chromium)

# Every state of every kind of run and split; `make test` does some of them.
exact: .venv/installed
	EXHAUSTIVE=1 $(RUN)/pytest -n 2 tests/test_exactness.py tests/test_kills.py

# Some five minutes of inputs that mean harm; the last line is one JSON object.
fuzz: .venv/installed
	cd tests && PYTHONPATH=.:../server:.. ../$(RUN)/python -m fuzz

# Also of real SGLang servers.
faults: .venv/installed .venv-sglang/installed
	$(RUN)/python -m tests.faults
	EXHAUSTIVE=1 $(RUN)/pytest tests/server/engines/test_sglang.py

lint: .venv/installed
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-logo --no-cache

check: lint test

# Wheel and sdist in dist/, the wheel from the sdist, and tried in .venv-wheel.
build: | $(UV)
	rm -rf dist
	$(UV) build --quiet --python '$(PYTHON)' --out-dir dist
	UV=$(UV) PYTHON='$(PYTHON)' .ci/try-wheel

format: .venv/installed
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

bench: .venv/installed
	for each in loader scaling stall store sidecar graph steering growth nodes estimate view gpu_step; do $(RUN)/python benchmarks/$$each.py --json || exit 1; done

clean:
	rm -rf .venv .venv-sglang .venv-sky .venv-uv .venv-wheel dist demo demo-sglang

.venv/installed: pyproject.toml constraints.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv
	UV=$(UV) .ci/install-torch .venv/bin/python torch torchvision --constraint constraints.txt --compile-bytecode
	$(UV) pip install --quiet --python .venv/bin/python --compile-bytecode --constraint constraints.txt --editable '.[composer,server,view]' --group dev
	touch $@

.venv-sglang/installed: server/sglang/setup-cpu.sh server/sglang/requirements-cpu.txt | $(UV)
	UV=$(UV) server/sglang/setup-cpu.sh .venv-sglang
	touch $@

# For its schema alone: SkyPilot pins other versions than ours.
.venv-sky/installed: | $(UV)
	$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv-sky
	$(UV) pip install --quiet --python .venv-sky/bin/python skypilot==0.14.1
	touch $@

.venv-uv/bin/uv:
	python3 -m venv .venv-uv
	.venv-uv/bin/pip install --quiet uv
