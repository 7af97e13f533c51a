# Every target installs what it needs: Python 3 with venv, git and make are enough.
SHELL := /bin/sh
BOOT := .boot/bin
UV := $(shell command -v uv 2>/dev/null || echo $(BOOT)/uv)
RUN := .venv/bin
TF_PLUGIN_DIR ?=
BASELINE ?= .git\#branch=main

.DEFAULT_GOAL := help
.PHONY: help setup demo test check chaos drills bench proto observability terraform-docs lambda aws-local fmt clean audit

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.synced  ## Install everything into .venv

$(BOOT)/uv:
	@echo "installing uv into .boot (once)"
	@python3 -m venv .boot
	@$(BOOT)/pip install --quiet --disable-pip-version-check uv

.venv/.synced: pyproject.toml uv.lock $(wildcard services/*/pyproject.toml) strategies/pyproject.toml | $(if $(filter $(BOOT)/uv,$(UV)),$(BOOT)/uv)
	@echo "installing the locked dependencies into .venv (a minute the first time)"
	@$(UV) sync --locked
	@touch $@

demo: setup  ## Run the whole pipeline on a simulated market, kill a session, check everything
	@$(RUN)/penstock demo

test: setup  ## Run the tests
	@$(RUN)/pytest -n 2 tests/unit tests/contract
	@$(RUN)/pytest -n 2 --dist loadfile -m "not chaos" --ignore tests/unit --ignore tests/contract tests

chaos: setup  ## Kill every process in turn, ten times each, under load (minutes)
	@$(RUN)/pytest -m chaos -o timeout=1800 tests/chaos tests/integration/test_images.py

drills: setup  ## Kill and freeze parts of a lane and Redis nodes, ten times each, and print what a subscriber noticed
	@$(RUN)/penstock drill --rounds 10 --both 4 --rate 1600

bench: setup  ## Measure every step, print a table and write JSON
	@$(RUN)/python -m benchmarks

.checkov/.synced: .ci/checkov.txt | setup
	@echo "installing checkov into .checkov (half a minute the first time)"
	@$(UV) venv --quiet --clear .checkov && $(UV) pip install --quiet --require-hashes --python .checkov -r .ci/checkov.txt \
		&& touch $@ || rm -rf .checkov

check: setup .checkov/.synced  ## Lint, types, architecture, contracts, infrastructure
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports
	@PATH=$(CURDIR)/$(RUN):$$PATH BASELINE='$(BASELINE)' sh .ci/contracts
	@TF_PLUGIN_DIR='$(TF_PLUGIN_DIR)' sh .ci/terraform

audit:  ## Ask for known vulnerabilities of the locked dependencies (needs the internet)
	@$(UV) export --locked --all-groups --no-emit-workspace --format requirements-txt --quiet | $(UV) tool run pip-audit --disable-pip --require-hashes -r /dev/stdin

proto: setup  ## Generate Python from proto/
	@PATH=$(CURDIR)/$(RUN):$$PATH buf format -w proto
	@PATH=$(CURDIR)/$(RUN):$$PATH buf generate --path proto/penstock
	@PATH=$(CURDIR)/$(RUN):$$PATH buf generate --template buf.gen.third_party.yaml

observability: setup  ## Make dashboards, alarms and alert rules from the catalogue of metrics
	@$(RUN)/python -m penstock.observability

terraform-docs: setup  ## Make the tables in the READMEs of terraform's modules
	@$(RUN)/python terraform/readmes.py

lambda: setup  ## Make the zip file of the function that tells Discord
	@$(RUN)/python -m penstock.cli.aws.function .penstock/lambda/alerts.zip

aws-local: setup  ## Apply terraform/environments/local to an AWS emulator and run the pipeline on it (minutes)
	@TF_PLUGIN_DIR='$(TF_PLUGIN_DIR)' $(RUN)/penstock aws-local

fmt: setup  ## Format the code
	@$(RUN)/ruff format .
	@$(RUN)/ruff check --fix .

clean:  ## Remove what runs left behind
	@rm -rf .penstock .pytest_cache .mypy_cache .ruff_cache .hypothesis
