# What a person or CI calls. Each target is a short script in deploy/dev that says what it changes.
.POSIX:
.PHONY: help run stop wipe check test test-all bench

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: ## a pod on containerd under Pinnace, on this machine (Debian, root)
	@deploy/dev/run

stop: ## ends Pinnace; its pods go on
	@deploy/dev/stop

wipe: ## removes pods, containerd and files of `make run` and of killed test runs
	@deploy/dev/wipe

check: ## formatting, lints, documentation, dependencies
	@deploy/dev/check

test: ## every layer, on the fake runtime and two real containerds (root)
	@deploy/dev/test

test-all: ## the same at full size: takes much longer
	@PINNACE_TEST_ALL=1 deploy/dev/test

bench: ## the figures of the performance goals, as a table (root)
	@deploy/dev/bench
