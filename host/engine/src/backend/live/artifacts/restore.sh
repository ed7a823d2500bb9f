# Brings files and trees from standard input to their places, ten arguments each:
# file|tree PATH DIGEST SIZE WANTED LISTING MODE OWNER GROUP CONTEXT. Asks for each that is necessary by a record `send`.
# The first that fails is the last.
export LC_ALL=C LANGUAGE=C
umask 077
temporary=
hasher=
leave() {
  # One that nobody wrote to would wait for ever.
  [ -z "$hasher" ] || kill "$hasher" 2>/dev/null
  [ -z "$temporary" ] || rm -rf -- "$temporary"
  hasher=
  temporary=
}
trap leave EXIT
trap 'exit 1' HUP INT TERM PIPE
say() { said=$1; shift; printf '%s\0' "$said" "$#" "$@"; }
stop() { say "$@"; exit 0; }
# Sets `target`: the path with every symbolic link followed.
locate() {
  target=$(readlink -m -- "$1" 2>&1 && echo .) || stop failed 1 "$target"
  target=${target%??}
  parent=${target%/*}
  parent=${parent:-/}
}
# What would differ if what is at a path were changed or replaced.
state() { stat -c '%d %i %f %s %u %g %y %z' -- "$1" 2>/dev/null; }
# Sets `digest`; or `text`, why there is none.
hash_of() {
  text=$({ sha256sum <"$1"; } 2>&1) || return 1
  digest=${text%% *}
}
# Makes a directory of our own in another, in place of one that was left there when the machine went down.
room() {
  temporary=${1%/}/.runner-$2
  new=$temporary/new
  text=$({ rm -rf -- "$temporary" && mkdir -- "$temporary"; } 2>&1) && return
  temporary=
  stop failed 1 "$text"
}
# FILE WANTED FORMAT FORMAT: whether something is wanted that neither format of stat shows.
other() {
  [ -n "$2" ] && [ "$2" != "$(stat -c "$3" -- "$1")" ] && [ "$2" != "$(stat -c "$4" -- "$1")" ]
}
# FILE MODE OWNER GROUP CONTEXT: sets those that are given. Status 10: one was different.
attributes() {
  status=0
  if other "$1" "$3" %U %u; then chown -- "$3" "$1" || return 1; status=10; fi
  if other "$1" "$4" %G %g; then chgrp -- "$4" "$1" || return 1; status=10; fi
  if other "$1" "$2" %a %a; then chmod -- "$2" "$1" || return 1; status=10; fi
  if [ -e /sys/fs/selinux/enforce ] && other "$1" "$5" %C %C; then chcon -- "$5" "$1" || return 1; status=10; fi
  return $status
}
file() {
  locate "$1"
  before=
  found=absent
  seen=$(state "$target")
  if [ -f "$target" ]; then
    hash_of "$target" || stop failed 1 "$text"
    before=$digest
    found=$digest
  elif [ -n "$seen" ]; then
    found='no regular file'
  fi
  [ "$4" = anything ] || [ "$4" = "$found" ] || stop conflict "$target" "$found"
  [ -z "$seen" ] || [ -f "$target" ] || stop special "$target"
  if [ ! -d "$parent" ]; then
    [ ! -e "$parent" ] || stop nowhere "$parent"
    stop missing "$parent"
  fi
  if [ "$before" = "$2" ]; then
    text=$(attributes "$target" "$6" "$7" "$8" "$9" 2>&1)
    case $? in
      0) say done no "$before" "$before" ;;
      10) say done yes "$before" "$before" ;;
      *) stop failed 1 "$text" ;;
    esac
    return
  fi
  room "$parent" "$2"
  say send
  text=$({ head -c "$3" >"$new"; } 2>&1) || stop failed 1 "$text"
  hash_of "$new" || stop failed 1 "$text"
  [ "$digest" = "$2" ] || stop damaged "$digest"
  if [ -n "$before" ]; then
    text=$(cp --attributes-only --preserve=all --no-preserve=timestamps -- "$target" "$new" 2>&1) || stop failed 1 "$text"
  else
    chmod 644 "$new"
  fi
  text=$(attributes "$new" "$6" "$7" "$8" "$9" 2>&1)
  case $? in 0 | 10) ;; *) stop failed 1 "$text" ;; esac
  text=$(sync -- "$new" 2>&1) || stop failed 1 "$text"
  if [ "$4" != anything ] && [ "$(state "$target")" != "$seen" ]; then stop conflict "$target" changed; fi
  # A link never replaces anything. Not every file system has links.
  if [ "$4" != absent ] || ! ln -T -- "$new" "$target" 2>/dev/null; then
    if [ "$4" = absent ] && [ -n "$(state "$target")" ]; then stop conflict "$target" changed; fi
    text=$(mv -fT -- "$new" "$target" 2>&1) || stop failed 1 "$text"
  fi
  leave
  sync -- "$parent" 2>/dev/null
  say done yes "$before" "$2"
}
# Sets `inside`: the first ten of what is in a directory, besides our own; status 1: nothing.
occupied() {
  count=0
  directory=${1%/}
  own=$directory/.runner-$2
  set --
  for name in "$directory"/* "$directory"/.[!.]* "$directory"/..?*; do
    if [ "$count" -lt 10 ] && [ "$name" != "$own" ] && { [ -e "$name" ] || [ -L "$name" ]; }; then
      count=$((count + 1))
      set -- "$@" "$name"
    fi
  done
  [ $# -gt 0 ] || return 1
  [ -n "$listed" ] || return 0
  stop occupied "$target" "$@"
}
# Hash over all that is below a directory: kinds, names, links, contents.
listing() (
  cd -- "$1" || exit 1
  {
    find . -mindepth 1 -type d -printf 'd %P\0' | sort -z
    find . -mindepth 1 -type l -printf 'l %P//%l\0' | sort -z
    find . -mindepth 1 ! -type d ! -type l ! -type f ! -type s -printf '%y %P\0' | sort -z
    find . -mindepth 1 -type f -print0 | sort -z | xargs -0 -r sha256sum -z
  } 2>/dev/null | sha256sum
)
tree() {
  locate "$1"
  case $(tar --version 2>/dev/null) in
    *'GNU tar'*) ;;
    *) stop unsupported ;;
  esac
  listed=
  there=
  where=$parent
  if [ -n "$(state "$target")" ]; then
    there=yes
    [ -d "$target" ] || stop nowhere "$target"
    if occupied "$target" "$2"; then
      digest=$(listing "$target")
      if [ "${digest%% *}" = "$5" ]; then
        say done no '' ''
        return
      fi
      listed=yes
      occupied "$target" "$2"
    fi
    listed=yes
    # Nothing can be put in place of what something is mounted on.
    if mountpoint -q -- "$target" 2>/dev/null || [ "$(stat -c %d -- "$target")" != "$(stat -c %d -- "$parent")" ]; then
      where=$target
    fi
  else
    text=$({ umask 022 && mkdir -p -- "$parent"; } 2>&1) || stop failed 1 "$text"
  fi
  room "$where" "$2"
  text=$({ mkdir -- "$new" && mkfifo -- "$temporary/copy"; } 2>&1) || stop failed 1 "$text"
  more=
  if tar --xattrs --version >/dev/null 2>&1; then
    more='--xattrs --xattrs-include=user.* --xattrs-include=security.capability'
  fi
  if [ -e /sys/fs/selinux/enforce ] && tar --selinux --version >/dev/null 2>&1; then more="$more --selinux"; fi
  sha256sum <"$temporary/copy" >"$temporary/sum" 2>/dev/null &
  hasher=$!
  say send
  set -f
  text=$({
    head -c "$3" | tee -- "$temporary/copy" | {
      # shellcheck disable=SC2086
      tar --extract --file=- --preserve-permissions --directory="$new" $more && cat >/dev/null
    }
  } 2>&1 >/dev/null) || stop failed 1 "$text"
  set +f
  wait
  hasher=
  digest=
  read -r digest rest <"$temporary/sum"
  [ "$digest" = "$2" ] || stop damaged "$digest"
  final=$new
  if [ "$where" = "$target" ]; then
    final=$target
  elif [ -n "$there" ]; then
    text=$(cp -R --attributes-only --preserve=all --no-preserve=timestamps -T -- "$target" "$new" 2>&1) \
      || stop failed 1 "$text"
  else
    chmod 755 "$new"
  fi
  text=$(attributes "$final" "$6" "$7" "$8" "$9" 2>&1)
  case $? in 0 | 10) ;; *) stop failed 1 "$text" ;; esac
  text=$(sync -f -- "$new" 2>&1) || stop failed 1 "$text"
  [ -z "$there" ] || occupied "$target" "$2"
  if [ "$final" = "$target" ]; then
    for name in "$new"/* "$new"/.[!.]* "$new"/..?*; do
      if [ -e "$name" ] || [ -L "$name" ]; then
        text=$(mv -fT -- "$name" "${target%/}/${name##*/}" 2>&1) || stop failed 1 "$text"
      fi
    done
  else
    text=$(mv -fT -- "$new" "$target" 2>&1) || stop failed 1 "$text"
  fi
  leave
  sync -- "$parent" 2>/dev/null
  say done yes '' ''
}
say begun
while [ $# -ge 10 ]; do
  kind=$1
  shift
  "$kind" "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9"
  shift 9
done
