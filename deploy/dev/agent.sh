# The agent that `make run` starts: where its things lie, and how to start and stop it. Sourced.
# shellcheck shell=sh disable=SC2034

. "${DEV_DIR:?set DEV_DIR to deploy/dev before sourcing agent.sh}/instance.sh"
instance run

AGENT_ROOT=$INSTANCE_ROOT/kubelet
AGENT_MANIFESTS=$INSTANCE_ROOT/manifests
AGENT_POD_LOGS=$INSTANCE_ROOT/pod-logs
AGENT_CONFIG=$INSTANCE_ROOT/config.yaml
AGENT_BINARY=$INSTANCE_ROOT/pinnace
AGENT_LOG=$INSTANCE_ROOT/pinnace.log
AGENT_ADMIN=$INSTANCE_RUN/pinnace.sock
AGENT_PIDFILE=$INSTANCE_RUN/pinnace.pid
AGENT_HEALTHZ_PORT=10248
AGENT_PORT=10250
AGENT_NODE=$(hostname | tr '[:upper:]' '[:lower:]')

# Prints the agent's pid and succeeds only while that process is ours.
agent_pid() {
    pid=$(cat "$AGENT_PIDFILE" 2>/dev/null) || return 1
    grep -qzxsF -- "$AGENT_CONFIG" "/proc/$pid/cmdline" || return 1
    echo "$pid"
}

# With AGENT_KUBECONFIG set the agent joins that cluster.
agent_start() {
    setsid "$AGENT_BINARY" run --config "$AGENT_CONFIG" --root-dir "$AGENT_ROOT" \
        --pod-manifest-path "$AGENT_MANIFESTS" --container-runtime-endpoint "unix://$INSTANCE_SOCKET" \
        --hostname-override "$AGENT_NODE" --admin-socket "$AGENT_ADMIN" \
        --healthz-port "$AGENT_HEALTHZ_PORT" ${AGENT_KUBECONFIG:+--kubeconfig "$AGENT_KUBECONFIG"} </dev/null >>"$AGENT_LOG" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    started=$!
    echo "$started" >"$AGENT_PIDFILE"
    # Until its exec the process is a copy of this shell, which agent_pid does not take for the agent.
    tries=0
    until agent_pid >/dev/null || ! kill -0 "$started" 2>/dev/null || [ "$tries" -ge 100 ]; do
        tries=$((tries + 1))
        sleep 0.02
    done
}

# The commands that ask the agent: agent_ask pods.
agent_ask() {
    PINNACE_ADMIN_SOCKET=$AGENT_ADMIN "$AGENT_BINARY" "$@"
}

# SIGTERM, then ten seconds, then SIGKILL: pods survive both.
agent_stop() {
    pid=$(agent_pid) || return 0
    kill -TERM "$pid"
    deadline=$(($(date +%s) + 10))
    while agent_pid >/dev/null; do
        [ "$(date +%s)" -lt "$deadline" ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$AGENT_PIDFILE"
    echo "stopped Pinnace (pid $pid)"
}

agent_failed() {
    echo "Pinnace $1. The end of $AGENT_LOG:" >&2
    tail -n 30 "$AGENT_LOG" >&2
    exit 1
}
