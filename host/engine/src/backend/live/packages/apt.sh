# Packages by apt and dpkg. Names and versions hold no character that a shell reads; lists of them are words.
apt_admin=${DPKG_ADMINDIR:-/var/lib/dpkg}
apt_note=$apt_admin/runner-holds
export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical
export APT_LISTCHANGES_FRONTEND=none APT_LISTBUGS_FRONTEND=none NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1

# State of packages, one a line; nothing of those that dpkg does not know.
apt_states() {
    [ $# -gt 0 ] || return 0
    dpkg-query -W -f '${Package}\t${Architecture}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\t${Version}\n' "$@" 2>/dev/null
    [ $? -le 1 ]
}

apt_status() {
    states=$(apt_states "$@") || { wrong 2 "$(dpkg-query -W "$1" 2>&1)"; return 1; }
    say ok 3 apt "$states" "$(apt-cache madison "$@" 2>/dev/null)"
}

# Which of the packages are held.
apt_holds() {
    dpkg-query -W -f '${binary:Package} ${db:Status-Want}\n' "$@" 2>/dev/null | while read -r name want; do
        [ "$want" = hold ] && echo "$name"
    done
    :
}

# Notes which packages are held, before a transaction that makes dpkg forget it; what an interrupted one noted stays.
apt_remember() {
    held=$({ cat "$apt_note" 2>/dev/null; apt_holds "$@"; } | sort -u)
    [ -n "$held" ] || return 0
    printf '%s\n' "$held" >"$apt_note.new" && sync "$apt_note.new" && mv -f "$apt_note.new" "$apt_note" && sync "$apt_admin"
}

apt_selections() {
    while read -r name; do
        echo "$name hold"
    done <"$apt_note" | dpkg --set-selections
}

# Holds again what was held.
apt_restore() {
    [ -s "$apt_note" ] || return 0
    patient "$seconds" apt_selections && rm -f "$apt_note"
}

# Takes what an interrupted dpkg noted beside its database into it, as apt demands, and waits while it is only somebody
# else at work. Nothing is configured by it: what is half done stands in the simulated transaction.
apt_mend() {
    left=$seconds
    while :; do
        set +f
        set -- "$apt_admin"/updates/[0-9]*
        set -f
        [ -e "$1" ] || return 0
        dpkg --set-selections >"$log" 2>&1 </dev/null && return 0
        [ "$left" -gt 0 ] || return 0
        sleep 1
        left=$((left - 1))
    done
}

apt_get() {
    apt-get -q -y -o DPkg::Lock::Timeout="$seconds" -o Dpkg::Use-Pty=0 -o Dpkg::Options::="$force" \
        -o APT::Install-Recommends=false -o APT::Install-Suggests=false -o APT::Get::AutomaticRemove=false \
        --allow-downgrades --allow-change-held-packages "$@" >"$log" 2>&1 </dev/null
}

# Lines of the simulated transaction that touch what is not named.
apt_beyond() {
    while read -r verb name rest; do
        case $verb in
            Inst | Conf) case " $names " in *" $name "*) ;; *) echo "$verb $name $rest" ;; esac ;;
            Remv | Purg) case " $removable " in *" $name "*) ;; *) echo "$verb $name $rest" ;; esac ;;
        esac
    done <"$log"
}

# Simulates, refuses what goes beyond the order, performs, holds again, answers with the states before and after.
# $names may be installed, $removable removed; arguments: those of apt-get.
apt_transaction() {
    before=$(apt_states $names $removable)
    apt_mend
    apt_get -s "$@" || { say refused 1 "$(tail_of_log)"; return 1; }
    beyond=$(apt_beyond)
    [ -z "$beyond" ] || { say beyond 1 "$beyond"; return 1; }
    if [ -n "$lower" ]; then
        say downgrade 1 "$lower"
        return 1
    fi
    apt_remember $names $removable || { wrong 1 "the holds cannot be noted in $apt_admin"; return 1; }
    apt_get "$@"
    code=$?
    said=$(tail_of_log 262144)
    apt_restore || { wrong "$code" "the holds cannot be set again: $(tail_of_log)"; return 1; }
    after=$(apt_states $names $removable)
    if [ "$code" -ne 0 ]; then
        say failed 3 "$code" "$said" "$after"
        return 1
    fi
    say ok 4 apt "$before" "$after" "$said"
}

# keep|replace, downgrade yes|no, seconds for locks, packages that may be removed, then names and versions.
apt_install() {
    begin || return 1
    case $1 in
        keep) force=--force-confold; export UCF_FORCE_CONFFOLD=1 ;;
        *) force=--force-confnew; export UCF_FORCE_CONFFNEW=1 ;;
    esac
    downgrade=$2 seconds=$3 removable=$4 names='' wanted='' lower=''
    shift 4
    while [ $# -ge 2 ]; do
        names="$names $1" wanted="$wanted $1=$2"
        have=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | head -n 1)
        case $have in
            '' | not-installed* | config-files*) ;;
            *)
                if [ "$downgrade" = no ] && dpkg --compare-versions "$2" lt "${have#* }"; then
                    lower="$lower$1 ${have#* } $2
"
                fi
                ;;
        esac
        shift 2
    done
    apt_transaction install $wanted
}

# yes|no for configuration files, seconds for locks, names.
apt_remove() {
    begin || return 1
    case $1 in yes) verb=purge ;; *) verb=remove ;; esac
    seconds=$2 force=--force-confold names='' lower='' removable=''
    shift 2
    for name in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | head -n 1)
        case $verb/$state in
            */ | */not-installed | remove/config-files) ;;
            *) removable="$removable $name" ;;
        esac
    done
    if [ -z "$removable" ]; then
        states=$(apt_states "$@")
        say ok 4 apt "$states" "$states" ''
        return 0
    fi
    apt_transaction $verb $removable
}

# Seconds for locks, names and versions.
apt_fetch() {
    begin || return 1
    seconds=$1 wanted=''
    shift
    while [ $# -ge 2 ]; do
        wanted="$wanted $1=$2"
        shift 2
    done
    eval "$(apt-config shell cache Dir::Cache::archives/d)"
    mkdir -p "$cache" && cd "$cache" || { wrong 1 "the directory $cache cannot be used"; return 1; }
    # Where the file is there already, nothing would be printed.
    uris=$(cd / && apt-get -q -q --print-uris download $wanted 2>"$log") || { say refused 1 "$(tail_of_log)"; return 1; }
    patient "$seconds" apt-get -q download $wanted || { wrong "$?" "$(tail_of_log)"; return 1; }
    printf '%s\n' "$uris" | while read -r uri file rest; do
        [ -s "$file" ] || { wrong 1 "apt-get download left no file $file"; exit 1; }
    done || return 1
    say ok 3 apt "$cache" "$uris"
}

# yes|no, names.
apt_hold() {
    begin || return 1
    case $1 in yes) verb=hold ;; *) verb=unhold ;; esac
    shift
    before=$(apt_holds "$@")
    patient 60 apt-mark $verb "$@" || { say refused 1 "$(tail_of_log)"; return 1; }
    say ok 3 apt "$before" "$(apt_holds "$@")"
}

apt_refresh() {
    begin || return 1
    patient 60 apt-get -q -o APT::Update::Error-Mode=any update || { wrong "$?" "$(tail_of_log)"; return 1; }
    say ok 1 apt
}

apt_repositories() {
    eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
    set +f
    set -- apt
    for file in "$list" "${parts%/}"/*.list "${parts%/}"/*.sources; do
        [ -f "$file" ] && set -- "$@" "$file" "$(base64 -w 0 "$file")"
    done
    set -f
    say ok $# "$@"
}
