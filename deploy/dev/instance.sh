# Where one development containerd keeps its things. Sourced; changes nothing but PATH.
#
# An instance owns $INSTANCE_ROOT, $INSTANCE_RUN, one /24 with its bridge, and every process, mount and
# iptables rule that names them. Nothing of it is shared with a containerd installed on the machine.
# shellcheck shell=sh disable=SC2034

DEV_DIR=${DEV_DIR:?set DEV_DIR to deploy/dev before sourcing instance.sh}
DEV_ROOT=/var/lib/pinnace-dev
DEV_RUN=/run/pinnace-dev
DEV_CACHE=${PINNACE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pinnace}

# Where rustup and Go's archive put their binaries, for a shell that has not read its profile; sbin for ip.
PATH=$PATH:${HOME:-/root}/.cargo/bin:/usr/local/go/bin:/usr/sbin:/sbin

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# instance NAME: sets the INSTANCE_* variables.
# At most 40 characters, so that the socket's path stays below the 108 bytes of sun_path.
instance() {
    case ${1:-} in
        '' | [!a-z]* | *[!a-z0-9-]*) die "an instance name is lower case letters, digits and '-', not '${1:-}'" ;;
    esac
    [ "${#1}" -le 40 ] || die "instance name '$1' has over 40 characters"
    INSTANCE_NAME=$1
    INSTANCE_ROOT=$DEV_ROOT/$1
    INSTANCE_RUN=$DEV_RUN/$1
    INSTANCE_SOCKET=$INSTANCE_RUN/containerd.sock
    INSTANCE_PIDFILE=$INSTANCE_RUN/containerd.pid
    INSTANCE_LOG=$INSTANCE_ROOT/containerd.log
    INSTANCE_CONFIG=$INSTANCE_ROOT/config.toml
    INSTANCE_CNI=$INSTANCE_ROOT/cni
    INSTANCE_VERSION=$(cat "$INSTANCE_ROOT/version" 2>/dev/null || true)
    # The link .subnets/N -> NAME is the claim of 10.201.N.0/24, see `containerd start`.
    INSTANCE_NUMBER=$(find "$DEV_ROOT/.subnets" -lname "$1" -printf '%f\n' 2>/dev/null | head -n 1)
    INSTANCE_BRIDGE=pnc$INSTANCE_NUMBER
    INSTANCE_SUBNET=10.201.$INSTANCE_NUMBER.0/24
}

# The directory of the binaries of a version: 'debian' is what the machine has, '2.2' what build-tools built.
containerd_bin() {
    case $1 in
        debian) dirname "$(command -v containerd || die "containerd is missing: run deploy/dev/prepare")" ;;
        2.2) "$DEV_DIR/build-tools" path containerd-2.2 ;;
        *) die "unknown containerd version '$1': say 'debian' or '2.2'" ;;
    esac
}

# The runc of a version. Debian 12's has no user namespaces of pods, the other one has.
runc_of() {
    case $1 in
        2.2) echo "$("$DEV_DIR/build-tools" path runc-1.3)/runc" ;;
        *) command -v runc || die "runc is missing: run deploy/dev/prepare" ;;
    esac
}

# Prints the pid of the instance's containerd and succeeds only while that process lives. The pid file alone
# proves nothing after a reboot, so the command line has to name our configuration.
instance_pid() {
    pid=$(cat "$INSTANCE_PIDFILE" 2>/dev/null) || return 1
    grep -qzxsF -- "$INSTANCE_CONFIG" "/proc/$pid/cmdline" || return 1
    echo "$pid"
}

need_root() {
    [ "$(id -u)" = 0 ] || die "needs root: it starts containers and network namespaces"
}

# How instances of this checkout's tests begin, so that two checkouts do not disturb each other.
test_prefix() {
    echo "test-$(cd "$DEV_DIR" && pwd | sha256sum | cut -c1-6)-"
}
