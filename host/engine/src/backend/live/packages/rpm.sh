# Packages by rpm with dnf (4 and 5) or yum ($manager). Names and versions hold no character that a shell reads.
rpm_note=/var/lib/runner-holds
rpm_cache=/var/cache/runner-packages
case $manager in
    dnf)
        case $(dnf --version 2>/dev/null | head -n 1) in
            dnf5*) everything='--setopt=disable_excludes=*' ;;
            *) everything=--disableexcludes=all ;;
        esac
        ;;
    *) everything=--disableexcludes=all ;;
esac

rpm_states() {
    [ $# -gt 0 ] || return 0
    rpm -q --qf '%{NAME}\t%{ARCH}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n' "$@" 2>/dev/null | while IFS= read -r line; do
        case $line in *' is not installed') ;; *) printf '%s\n' "$line" ;; esac
    done
}

rpm_locks() { "$manager" -q versionlock list 2>/dev/null </dev/null; }

rpm_offers() {
    case $manager in
        dnf) dnf -q "$everything" repoquery --available --qf '%{name} %{evr}\n' "$@" 2>/dev/null </dev/null ;;
        *) yum -q "$everything" --showduplicates list available "$@" 2>/dev/null </dev/null ;;
    esac
}

rpm_status() { say ok 4 "$manager" "$(rpm_states "$@")" "$(rpm_offers "$@")" "$(rpm_locks)"; }

# Which of the packages are locked to a version, by their names in what the plugin lists.
rpm_holds() {
    locks=$(rpm_locks)
    for name in "$@"; do
        printf '%s\n' "$locks" | while IFS= read -r line; do
            case $line in
                "$name-"[0-9]* | [0-9]*":$name-"[0-9]* | "Package name: $name") echo "$name"; break ;;
            esac
        done
    done
}

rpm_remember() {
    held=$({ cat "$rpm_note" 2>/dev/null; rpm_holds "$@"; } | sort -u)
    [ -n "$held" ] || return 0
    printf '%s\n' "$held" >"$rpm_note.new" && sync "$rpm_note.new" && mv -f "$rpm_note.new" "$rpm_note" || return 1
    "$manager" -q versionlock delete $held >"$log" 2>&1 </dev/null
}

rpm_restore() {
    [ -s "$rpm_note" ] || return 0
    "$manager" -q versionlock add $(cat "$rpm_note") >"$log" 2>&1 </dev/null && rm -f "$rpm_note"
}

rpm_run() {
    "$manager" -y "$everything" --setopt=install_weak_deps=0 --setopt=clean_requirements_on_remove=0 --setopt=best=1 \
        "$@" >"$log" 2>&1 </dev/null
}

# Lines of the transaction's table, each after the title of its section.
rpm_table() {
    section=''
    while IFS= read -r line; do
        case $line in
            'Transaction Summary'*) break ;;
            [A-Z]*:) section=$line ;;
            ' '[!\ ]*) echo "$section$line" ;;
        esac
    done <"$log"
}

# Those that touch what is not named.
rpm_beyond() {
    rpm_table | while IFS= read -r line; do
        name=${line#*: }
        name=${name%% *}
        case $line in
            ' '* | Transaction*) ;;
            Removing* | Erasing*) case " $removable " in *" $name "*) ;; *) echo "$line" ;; esac ;;
            *) case " $names " in *" $name "*) ;; *) echo "$line" ;; esac ;;
        esac
    done
}

# Those that lower a version: name, installed version, the version that would come.
rpm_lower() {
    rpm_table | while read -r title name arch version rest; do
        [ "$title" != Downgrading: ] || echo "$name $(rpm_states "$name" | cut -f 3 | head -n 1) $version"
    done
}

# Of the names and versions in $differs those that the transaction would not bring, as arguments of yum.
rpm_kept() {
    brought=$(rpm_table | while IFS= read -r line; do
        case $line in
            Installing* | Updating* | Downgrading*) line=${line#*: }; printf ' %s ' "${line%% *}" ;;
        esac
    done)
    set -- $differs
    while [ $# -ge 2 ]; do
        case $brought in *" $1 "*) ;; *) printf ' %s' "$1-$2" ;; esac
        shift 2
    done
}

# rpm itself decides which configuration it keeps; here it becomes what the order says.
rpm_configuration() {
    printf '%s\n' "$said" | while IFS= read -r line; do
        case $line in
            *'warning: '*' saved as '*.rpmsave) file=${line#*warning: }; file=${file%% saved as *}
                [ "$1" = keep ] && [ -e "$file" ] && [ -e "$file.rpmsave" ] && mv -f "$file" "$file.rpmnew" && mv -f "$file.rpmsave" "$file" ;;
            *'warning: '*' created as '*.rpmnew) file=${line#*warning: }; file=${file%% created as *}
                [ "$1" = replace ] && [ -e "$file" ] && [ -e "$file.rpmnew" ] && mv -f "$file" "$file.rpmsave" && mv -f "$file.rpmnew" "$file" ;;
        esac
    done
    :
}

rpm_transaction() {
    before=$(rpm_states $names $removable)
    rpm_remember $names $removable || { wrong 1 "the version locks cannot be lifted: $(tail_of_log)"; return 1; }
    refused=''
    rpm_run --assumeno "$@"
    case $(tail_of_log) in
        *'Nothing to do'* | *'Operation aborted'* | *'Exiting on user command'* | *'Aborted by the user'* | *'Transaction Summary'*)
            # yum lowers no version when it installs, and leaves such a package as it is; what lowers it does nothing else.
            kept=''
            [ -n "$(rpm_beyond)" ] || kept=$(rpm_kept)
            if [ -n "$kept" ]; then
                set -- downgrade $kept
                rpm_run --assumeno "$@"
                kept=$(rpm_kept)
                [ -z "$kept" ] || refused="Error: yum lowers versions only in a transaction of their own, without$kept
$(tail_of_log)"
            fi
            ;;
        *) refused=$(tail_of_log) ;;
    esac
    beyond=$(rpm_beyond)
    lower=''
    [ "$downgrade" = yes ] || lower=$(rpm_lower)
    if [ -z "$refused$beyond$lower" ]; then
        rpm_run "$@"
        code=$?
        said=$(tail_of_log 262144)
        rpm_configuration "$configuration"
    fi
    rpm_restore || { wrong 1 "the version locks cannot be set again: $(tail_of_log)"; return 1; }
    [ -z "$lower" ] || { say downgrade 1 "$lower"; return 1; }
    [ -z "$refused" ] || { say refused 1 "$refused"; return 1; }
    [ -z "$beyond" ] || { say beyond 1 "$beyond"; return 1; }
    after=$(rpm_states $names $removable)
    if [ "$code" -ne 0 ]; then
        say failed 3 "$code" "$said" "$after"
        return 1
    fi
    say ok 4 "$manager" "$before" "$after" "$said"
}

# As apt_install.
rpm_install() {
    begin || return 1
    configuration=$1 downgrade=$2 seconds=$3 removable=$4 names='' wanted='' differs='' erasing=''
    shift 4
    while [ $# -ge 2 ]; do
        names="$names $1" wanted="$wanted $1-$2"
        [ "$manager" != yum ] || [ "$(rpm_states "$1" | cut -f 3 | sort -u)" = "$2" ] || differs="$differs $1 $2"
        shift 2
    done
    [ -z "$removable" ] || [ "$manager" != dnf ] || erasing=--allowerasing
    rpm_transaction install $erasing $wanted
}

# As apt_remove.
rpm_remove() {
    begin || return 1
    purge=$1 seconds=$2 names='' configuration=keep downgrade=no removable='' differs=''
    shift 2
    for name in "$@"; do
        rpm -q "$name" >/dev/null 2>&1 && removable="$removable $name"
    done
    if [ -z "$removable" ]; then
        say ok 4 "$manager" '' '' ''
        return 0
    fi
    rpm_transaction remove $removable || return 1
    [ "$purge" = yes ] || return 0
    printf '%s\n' "$said" | while IFS= read -r line; do
        case $line in *'warning: '*' saved as '*.rpmsave) rm -f "${line#* saved as }" ;; esac
    done
    :
}

# As apt_fetch.
rpm_fetch() {
    begin || return 1
    shift
    mkdir -p "$rpm_cache" && cd "$rpm_cache" || { wrong 1 "the directory $rpm_cache cannot be used"; return 1; }
    case $manager in dnf) download='dnf -y -q download' ;; *) download=yumdownloader ;; esac
    files=''
    while [ $# -ge 2 ]; do
        $download "$everything" --destdir="$rpm_cache" "$1-$2" >"$log" 2>&1 </dev/null || { say refused 1 "$(tail_of_log)"; return 1; }
        set +f
        for file in "$rpm_cache/$1-${2#*:}".*.rpm; do
            [ -s "$file" ] || { wrong 1 "the download left no file $file: $(tail_of_log)"; return 1; }
            files="$files$file
"
        done
        set -f
        shift 2
    done
    say ok 3 "$manager" "$rpm_cache" "$files"
}

# As apt_hold.
rpm_hold() {
    begin || return 1
    case $1 in yes) verb=add ;; *) verb=delete ;; esac
    shift
    before=$(rpm_holds "$@")
    for name in "$@"; do
        case $verb/$(rpm_holds "$name") in
            "add/$name" | delete/) ;;
            *) "$manager" -q versionlock "$verb" "$name" >"$log" 2>&1 </dev/null || { wrong "$?" "$(tail_of_log)"; return 1; } ;;
        esac
    done
    say ok 3 "$manager" "$before" "$(rpm_holds "$@")"
}

rpm_refresh() {
    begin || return 1
    "$manager" -y -q clean expire-cache >"$log" 2>&1 </dev/null
    "$manager" -y -q makecache >"$log" 2>&1 </dev/null || { wrong "$?" "$(tail_of_log)"; return 1; }
    say ok 1 "$manager"
}

rpm_repositories() {
    set +f
    set -- "$manager"
    for file in /etc/yum.repos.d/*.repo; do
        [ -f "$file" ] && set -- "$@" "$file" "$(base64 -w 0 "$file")"
    done
    set -f
    say ok $# "$@"
}
