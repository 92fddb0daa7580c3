# What a person or CI calls. Each target is a short script in deploy/dev that says what it changes.
.POSIX:
.PHONY: help run cluster stop wipe check test test-all bench bench-peer

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: ## a pod on containerd under Pinnace, on this machine (Debian, root)
	@deploy/dev/run

cluster: ## a Kubernetes control plane on this machine (root)
	@deploy/dev/run-cluster

stop: ## ends Pinnace; its pods go on
	@deploy/dev/stop

wipe: ## removes pods, containerd, cluster and files of `make run`, `make cluster` and killed test runs
	@deploy/dev/wipe

check: ## formatting, lints, documentation, dependencies
	@deploy/dev/check

test: ## every layer, on the fake runtime, two real containerds and a real control plane (root)
	@deploy/dev/test

test-all: ## the same at full size: takes much longer
	@PINNACE_TEST_ALL=1 deploy/dev/test

bench: ## the figures of the performance goals, as a table (root)
	@deploy/dev/bench

bench-peer: ## those of a node in a cluster, beside upstream's kubelet (root)
	@PINNACE_BENCH_PEER=1 deploy/dev/bench cluster
