# Files by coreutils alone. Every function answers with one record; names hold any byte but NUL.
umask 022
export QUOTING_STYLE=literal
describes='%f\000%s\000%.3Y\000%U\000%u\000%G\000%g\000%n\000%N\000'
selinux=''
if [ -e /sys/fs/selinux/enforce ]; then
    selinux=yes describes="$describes%C\\000"
else
    describes="$describes?\\000"
fi
tmp=''
trap '[ -z "$tmp" ] || rm -rf -- "$tmp"' EXIT
trap 'exit 1' HUP INT TERM PIPE

describe() { stat --printf="$describes" -- "$@" 2>/dev/null; }

# Runs a command; what it says of a failure becomes the answer.
try() {
    said=$("$@" 2>&1 >/dev/null) && return 0
    wrong $? "$said"
}

# Sets $real: where $1 is once symbolic links are followed.
resolve() {
    real=$(realpath -m -- "$1" 2>/dev/null; echo x)
    real=${real%??}
    [ -n "$real" ] || { wrong 1 'the path cannot be resolved'; return 1; }
    [ ! -L "$real" ] || wrong 1 'Too many levels of symbolic links'
}

# Sets $real: where $1 is once the links before its last part are followed.
resolve_parent() {
    path=$1
    while :; do
        case $path in ?*/) path=${path%/} ;; *) break ;; esac
    done
    name=${path##*/}
    case $name in
        '' | . | ..) resolve "$1"; return ;;
    esac
    resolve "${path%/*}/" || return 1
    real="${real%/}/$name"
}

# Sets $directory: the one that holds $real, which must be there.
parent() {
    directory=${real%/*}
    directory=${directory:-/}
    [ -d "$directory" ] && return 0
    [ ! -e "$directory" ] || { say no-directory 1 "$directory"; return 1; }
    say absent 1 "$directory"
    return 1
}

is_there() { [ -e "$1" ] || [ -L "$1" ]; }

# Sets $found: hash of a regular file, or what there is in its place.
find_out() {
    if [ -L "$1" ]; then
        found='no regular file'
    elif [ -f "$1" ]; then
        found=$(sha256sum <"$1" 2>&1) || { wrong 1 "$found"; return 1; }
        found=${found%% *}
    elif [ -e "$1" ]; then
        found='no regular file'
    else
        found=absent
    fi
}

# Sets $before: hash of the regular file at $1. $2 anything|absent|hash, $3 the hash.
expect() {
    find_out "$1" || return 1
    case $2 in
        anything) ;;
        absent) [ "$found" = absent ] || { say conflict 1 "$found"; return 1; } ;;
        *) [ "$found" = "$3" ] || { say conflict 1 "$found"; return 1; } ;;
    esac
    case $found in absent | 'no regular file') before='' ;; *) before=$found ;; esac
}

# The regular file at $1, links followed.
need_regular() {
    [ -f "$1" ] && [ -r "$1" ] && return 0
    [ ! -e "$1" ] || [ -f "$1" ] || { say irregular 0; return 1; }
    try cat -- "$1"
}

files_stat() {
    try stat -- "$1" || return 1
    say ok 1 "$(describe "$1" | base64 -w 0)"
}

files_read() {
    need_regular "$1" || return 1
    size=$(stat -L -c %s -- "$1")
    say ok 2 "$size" "$(tail -c "+$(($2 + 1))" -- "$1" | head -c "$3" | base64 -w 0)"
}

files_hash() {
    need_regular "$1" || return 1
    hash=$(sha256sum <"$1" 2>&1) || { wrong 1 "$hash"; return 1; }
    say ok 1 "${hash%% *}"
}

files_space() {
    resolve "$1" || return 1
    while [ ! -e "$real" ]; do
        real=${real%/*}
        real=${real:-/}
    done
    room=$(stat -f -c '%S %b %a %d' -- "$real" 2>&1) || { wrong 1 "$room"; return 1; }
    say ok 1 "$room"
}

walk() (
    depth=$2
    set -- "$1"/* "$1"/.[!.]* "$1"/..?*
    describe "$@"
    # More than one command may be given.
    [ $? -ne 126 ] || for entry in "$@"; do describe "$entry"; done
    [ "$depth" -gt 1 ] || exit 0
    for entry in "$@"; do
        if [ -d "$entry" ] && [ ! -L "$entry" ]; then walk "$entry" $((depth - 1)); fi
    done
)

files_entries() {
    resolve "$1" || return 1
    [ -d "$real" ] || { is_there "$real" && say no-directory 1 "$1" || say absent 1 "$1"; return 1; }
    try ls -d -- "$real/." || return 1
    [ -r "$real" ] || { wrong 1 'Permission denied'; return 1; }
    say ok 1 "$(cd -- "$real" && walk . "$2" | base64 -w 0)"
}

# Gives $1 the owner, mode and context: $3 mode, $4 owner, $5 group, $6 context; where none is given, those of $2, when
# there is such a file.
dress() {
    if [ -n "$2" ]; then
        try chown --reference="$2" -- "$1" || return 1
    fi
    if [ -n "$4$5" ]; then
        try chown -- "$4${5:+:$5}" "$1" || return 1
    fi
    if [ -n "$3" ]; then
        try chmod -- "$3" "$1" || return 1
    elif [ -n "$2" ]; then
        try chmod --reference="$2" -- "$1" || return 1
    else
        try chmod 644 "$1" || return 1
    fi
    [ -n "$selinux" ] || return 0
    if [ -n "$6" ]; then
        try chcon -- "$6" "$1" || return 1
    elif [ -n "$2" ]; then
        try chcon --reference="$2" -- "$1" || return 1
    fi
}

looks() { stat -c "%f %u %g${selinux:+ %C}" -- "$1" 2>/dev/null; }

# Path, size, precondition, its hash, mode, owner, group, context. On standard input the hash and the content.
files_write() {
    hash=$(head -c 64)
    resolve "$1" || return 1
    parent || return 1
    [ ! -e "$real" ] || [ -f "$real" ] || { say irregular 0; return 1; }
    said=$(mktemp -- "$directory/.runner-XXXXXXXXXX" 2>&1) || { wrong 1 "$said"; return 1; }
    tmp=$said
    said=$(head -c "$2" 2>&1 >"$tmp") || { wrong 1 "$said"; return 1; }
    said=$(sha256sum <"$tmp")
    [ "${said%% *}" = "$hash" ] || { wrong 1 'what arrived is not what was sent'; return 1; }
    model=''
    [ ! -f "$real" ] || model=$real
    dress "$tmp" "$model" "$5" "$6" "$7" "$8" || return 1
    try sync -- "$tmp" || return 1
    expect "$real" "$3" "$4" || return 1
    changed=no
    if [ "$before" != "$hash" ] || [ "$(looks "$tmp")" != "$(looks "$real")" ]; then
        changed=yes
        try mv -fT -- "$tmp" "$real" || return 1
        tmp=''
        try sync -- "$directory" || return 1
    else
        rm -f -- "$tmp"
        tmp=''
    fi
    say ok 3 "$changed" "$before" "$hash"
}

# Everything of a file or tree but its name and times.
prints() (
    stat --printf='%f %u %g\000' -- "$1"
    if [ -L "$1" ]; then
        stat --printf='%N\000' -- "$1"
    elif [ -d "$1" ]; then
        cd -- "$1" || exit 1
        for entry in * .[!.]* ..?*; do
            if is_there "./$entry"; then
                printf '%s\0' "$entry"
                prints "./$entry"
            fi
        done
    elif [ -f "$1" ]; then
        sha256sum <"$1"
    fi
)

# Source, destination, precondition, its hash.
files_copy() {
    resolve "$1" || return 1
    from=$real
    try stat -- "$from" || return 1
    resolve "$2" || return 1
    case $real/ in "${from%/}/"*) say inside 0; return 1 ;; esac
    parent || return 1
    expect "$real" "$3" "$4" || return 1
    was=$before
    if is_there "$real" && [ "$(prints "$from" | sha256sum)" = "$(prints "$real" | sha256sum)" ]; then
        say ok 3 no "$was" "$was"
        return 0
    fi
    said=$(mktemp -d -- "$directory/.runner-XXXXXXXXXX" 2>&1) || { wrong 1 "$said"; return 1; }
    tmp=$said
    try cp -aT -- "$from" "$tmp/new" || return 1
    if [ -d "$tmp/new" ]; then try sync -f -- "$tmp" || return 1; else try sync -- "$tmp/new" || return 1; fi
    expect "$real" "$3" "$4" || return 1
    if is_there "$real" && { [ -d "$real" ] || [ -d "$tmp/new" ]; }; then
        try mv -T -- "$real" "$tmp/old" || return 1
        try mv -T -- "$tmp/new" "$real" || { mv -T -- "$tmp/old" "$real"; return 1; }
    else
        try mv -fT -- "$tmp/new" "$real" || return 1
    fi
    try sync -- "$directory" || return 1
    rm -rf -- "$tmp"
    tmp=''
    expect "$real" anything '' || return 1
    say ok 3 yes "$was" "$before"
}

# Source, destination.
files_rename() {
    resolve_parent "$1" || return 1
    from=$real
    try stat -- "$from" || return 1
    resolve_parent "$2" || return 1
    expect "$real" absent '' || return 1
    parent || return 1
    above=${from%/*}
    [ "$(stat -c %d -- "$from")" = "$(stat -c %d -- "$directory")" ] || { say elsewhere 0; return 1; }
    try mv -nT -- "$from" "$real" || return 1
    ! is_there "$from" || { say conflict 1 'something that came just now'; return 1; }
    try sync -- "$directory" "${above:-/}" || return 1
    expect "$real" anything '' || return 1
    say ok 3 yes '' "$before"
}

# Path, recursive yes|no, contents only yes|no, precondition, its hash.
files_remove() {
    resolve_parent "$1" || return 1
    is_there "$real" || { say ok 3 no '' ''; return 0; }
    expect "$real" "$4" "$5" || return 1
    [ "$real" != / ] || { say root 0; return 1; }
    changed=yes
    if [ "$3" = yes ]; then
        [ -d "$real" ] && [ ! -L "$real" ] || { say no-directory 1 "$1"; return 1; }
        changed=no
        for entry in "$real"/* "$real"/.[!.]* "$real"/..?*; do
            if is_there "$entry"; then
                changed=yes
                try rm -rf --one-file-system -- "$entry" || return 1
            fi
        done
        try sync -- "$real" || return 1
        say ok 3 "$changed" '' ''
        return 0
    fi
    if [ -d "$real" ] && [ ! -L "$real" ] && [ "$2" = no ]; then
        set --
        for entry in "$real"/* "$real"/.[!.]* "$real"/..?*; do
            if is_there "$entry" && [ $# -lt 10 ]; then set -- "$@" "$entry"; fi
        done
        [ $# -eq 0 ] || { say full $# "$@"; return 1; }
        try rmdir -- "$real" || return 1
    else
        try rm -rf --one-file-system -- "$real" || return 1
    fi
    directory=${real%/*}
    try sync -- "${directory:-/}" || return 1
    say ok 3 yes "$before" ''
}

# Sets what is asked of $1 and says in $changed whether anything was different: $2 mode, $3 owner, $4 group, $5 context,
# $6 -R or nothing.
adjust() {
    mode=$2
    looked=$(looks "$1")
    if [ -n "$3$4" ]; then
        kept=$(stat -c %a -- "$1")
        said=$(chown -ch $6 -- "$3${4:+:$4}" "$1" 2>&1) || { wrong 1 "$said"; return 1; }
        [ -z "$said" ] || changed=yes
        # Changing the owner may take bits away that nobody asked to lose.
        [ -n "$mode" ] || mode=$kept
    fi
    if [ -n "$mode" ] && { [ -n "$2" ] || [ -z "$6" ]; }; then
        said=$(chmod -c $6 -- "$mode" "$1" 2>&1) || { wrong 1 "$said"; return 1; }
        [ -z "$said" ] || [ -z "$2" ] || changed=yes
    fi
    if [ -n "$selinux" ] && [ -n "$5" ]; then
        try chcon $6 -- "$5" "$1" || return 1
    fi
    [ "$looked" = "$(looks "$1")" ] || changed=yes
}

# Path, mode, owner, group, context.
files_directory() {
    resolve "$1" || return 1
    changed=no
    if [ ! -d "$real" ]; then
        ! is_there "$real" || { say no-directory 1 "$1"; return 1; }
        above=${real%/*}
        [ -z "$above" ] || try mkdir -p -- "$above" || return 1
        try mkdir -m "${2:-755}" -- "$real" || return 1
        try sync -- "${above:-/}" || return 1
        changed=yes
    fi
    adjust "$real" "$2" "$3" "$4" "$5" '' || return 1
    say ok 1 "$changed"
}

# Path, mode, owner, group, context, recursive yes|no.
files_attributes() {
    resolve "$1" || return 1
    try stat -- "$real" || return 1
    changed=no
    case $6 in yes) deep=-R ;; *) deep='' ;; esac
    adjust "$real" "$2" "$3" "$4" "$5" "$deep" || return 1
    say ok 1 "$changed"
}
