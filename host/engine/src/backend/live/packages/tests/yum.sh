# rpm and yum 3 as far as transactions go. $state/installed: a name and a version a line, of which the number before the
# hyphen tells what is lower; $state/offered the same; $state/ran: the commands that changed something.
rpm() {
    shift
    [ "$1" != --qf ] || shift 2
    for name in "$@"; do
        version=$(fake_installed "$name")
        if [ -n "$version" ]; then printf '%s\tx86_64\t%s\n' "$name" "$version"; else echo "package $name is not installed"; fi
    done
}

fake_installed() {
    while read -r fake_name fake_version; do
        [ "$fake_name" != "$1" ] || echo "$fake_version"
    done <"$state/installed"
}

# Which of the arguments the verb $1 brings, as lines of the table; what yum says of the others.
fake_plan() {
    verb=$1
    shift
    for wanted in "$@"; do
        name=${wanted%-*-*} version=${wanted#"${wanted%-*-*}"-}
        have=$(fake_installed "$name")
        case $(cat "$state/offered") in
            *"$name $version"*) ;;
            *) echo "No package $wanted available." >&2; continue ;;
        esac
        if [ -z "$have" ]; then
            if [ "$verb" = install ]; then echo "Installing $name $version"; else echo "No Match for available package: $name" >&2; fi
        elif [ "$have" = "$version" ]; then
            [ "$verb" = downgrade ] || echo "Package $wanted.x86_64 already installed and latest version" >&2
        elif [ "${version%%-*}" -lt "${have%%-*}" ]; then
            if [ "$verb" = downgrade ]; then echo "Downgrading $name $version"; else echo "Package matching $wanted already installed. Checking for update." >&2; fi
        else
            if [ "$verb" = install ]; then echo "Updating $name $version"; else echo "Only Upgrade available on package: $wanted" >&2; fi
        fi
    done
}

yum() {
    simulated=no
    while :; do
        case $1 in --assumeno) simulated=yes ;; -*) ;; *) break ;; esac
        shift
    done
    case $1 in install | downgrade) ;; *) return 0 ;; esac
    echo 'Loaded plugins: fastestmirror'
    echo ' * base: mirror.example.org'
    plan=$(fake_plan "$@" 2>&1)
    planned=$(printf '%s\n' "$plan" | while read -r title name version rest; do
        case $title in Installing | Updating | Downgrading) echo "$title $name $version" ;; *) [ -z "$title" ] || echo "$title $name $version $rest" >&2 ;; esac
    done)
    [ -n "$planned" ] || { echo 'Nothing to do'; return 0; }
    printf '%s\n' '' 'Dependencies Resolved' '' '====' ' Package     Arch   Version   Repository   Size' '===='
    for title in Installing Updating Downgrading; do
        printf '%s\n' "$planned" | while read -r each name version; do
            [ "$each" != "$title" ] || printf '%s:\n %s     x86_64   %s   base   1 k\n' "$title" "$name" "$version"
        done
    done
    printf '%s\n' '' 'Transaction Summary' '===='
    if [ "$simulated" = yes ]; then
        echo 'Exiting on user command'
        return 1
    fi
    echo "$*" >>"$state/ran"
    printf '%s\n' "$planned" | while read -r each name version; do
        while read -r other its; do
            [ "$other" = "$name" ] || echo "$other $its"
        done <"$state/installed" >"$state/new"
        echo "$name $version" >>"$state/new"
        mv "$state/new" "$state/installed"
    done
    echo 'Complete!'
}
