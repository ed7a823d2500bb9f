# Which package manager a host has.
set -f
manager=none
if [ -e "${DPKG_ADMINDIR:-/var/lib/dpkg}/status" ] && command -v apt-get >/dev/null 2>&1; then
    manager=apt
elif command -v dnf >/dev/null 2>&1; then
    manager=dnf
elif command -v yum >/dev/null 2>&1; then
    manager=yum
fi

# Runs a command until it ends well or fails for another reason than a lock; $1: most seconds. What it says is in $log.
patient() {
    left=$1
    shift
    while :; do
        "$@" >"$log" 2>&1 </dev/null && return 0
        code=$?
        case $(tail -c 4096 "$log") in
            *"get lock"* | *"locked by another"* | *"nable to lock"* | *"acquire the dpkg"*) [ "$left" -gt 0 ] || return "$code" ;;
            *) return "$code" ;;
        esac
        sleep 1
        left=$((left - 1))
    done
}

# A file for what the package manager says; it goes with the script, which a lost connection does not end.
begin() {
    trap '' HUP PIPE
    log=$(mktemp) || { wrong 1 "no temporary file can be made on the host"; return 1; }
    trap 'rm -f "$log"' EXIT
}

# The end of what it said.
tail_of_log() { tail -c "${1:-8192}" "$log"; }

# Runs the function of this host's package manager.
by_manager() {
    case $manager in
        none) say unsupported 0; return 1 ;;
        apt) "apt_$@" ;;
        *) "rpm_$@" ;;
    esac
}
