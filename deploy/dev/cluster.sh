# Where a development cluster keeps its things. Sourced after instance.sh; changes nothing.
#
# A cluster owns $CLUSTER_ROOT, the tmpfs in it, ten ports of 127.0.0.1 and the processes whose program is named
# $CLUSTER_ROOT/bin/...: those are links, so that a process shows whose it is.
# shellcheck shell=sh disable=SC2034

CLUSTERS=$DEV_ROOT/.clusters
# Of the port range 20010 to 22549: below the ports that Linux gives to clients, 32768 and up.
FIRST_PORT=20000

# cluster NAME: sets the CLUSTER_* variables.
cluster() {
    instance "${1:-}"
    CLUSTER_NAME=$1
    CLUSTER_ROOT=$CLUSTERS/$1
    CLUSTER_PKI=$CLUSTER_ROOT/pki
    # The link .ports/N -> NAME is the claim of ports FIRST_PORT + 10 N and the nine after it.
    CLUSTER_NUMBER=$(find "$CLUSTERS/.ports" -lname "$1" -printf '%f\n' 2>/dev/null | head -n 1)
    base=$((FIRST_PORT + 10 * ${CLUSTER_NUMBER:-0}))
    CLUSTER_ETCD=https://127.0.0.1:$base
    CLUSTER_ETCD_PEER=https://127.0.0.1:$((base + 1))
    CLUSTER_PORT=$((base + 2))
    CLUSTER_SERVER=https://127.0.0.1:$CLUSTER_PORT
    CLUSTER_CONTROLLERS_PORT=$((base + 3))
    CLUSTER_SCHEDULER_PORT=$((base + 4))
    # Nothing routes to these: they are names of Services.
    CLUSTER_SERVICES=10.202.${CLUSTER_NUMBER:-0}.0/24
    CLUSTER_SERVICE_IP=10.202.${CLUSTER_NUMBER:-0}.1
}

# Prints the path of a program: what its environment variable says, else what build-tools builds.
cluster_program() {
    case $1 in
        etcd) given=${ETCD:-$(command -v etcd || true)} ;;
        kube-apiserver) given=${KUBE_APISERVER:-} ;;
        kube-controller-manager) given=${KUBE_CONTROLLER_MANAGER:-} ;;
        kube-scheduler) given=${KUBE_SCHEDULER:-} ;;
        kubectl) given=${KUBECTL:-} ;;
    esac
    if [ -z "$given" ]; then
        [ "$1" != etcd ] || die "etcd is missing: run deploy/dev/prepare test, or set ETCD"
        directory=$("$DEV_DIR/build-tools" path kubernetes-1.36) || exit 1
        given=$directory/$1
    fi
    [ -x "$given" ] || die "$given is not a program"
    echo "$given"
}

# cluster_pid PROGRAM: prints its pid and succeeds only while that process lives and is this cluster's.
cluster_pid() {
    pid=$(cat "$CLUSTER_ROOT/$1.pid" 2>/dev/null) || return 1
    grep -qzxsF -- "$CLUSTER_ROOT/bin/$1" "/proc/$pid/cmdline" || return 1
    echo "$pid"
}
