# Sends what is in the directory $1 as a tar archive without the patterns that the other arguments exclude. The end of
# standard error says what the archive hashes to here, and how tar ended.
export LC_ALL=C LANGUAGE=C
say() { said=$1; shift; printf '%s\0' "$said" "$#" "$@"; }
stop() { say "$@"; exit 0; }
directory=$1
shift
if ! kind=$(stat -L -c %F -- "$directory" 2>&1); then
  case $kind in
    *'No such file or directory' | *'Not a directory') stop missing ;;
    *) stop failed 1 "$kind" ;;
  esac
fi
[ "$kind" = directory ] || stop special
text=$({ cd -- "$directory"; } 2>&1) || stop failed 1 "$text"
cd -- "$directory" || exit 1
case $(tar --version 2>/dev/null) in
  *'GNU tar'*) ;;
  *) stop unsupported ;;
esac
offers() { tar "$1" --version >/dev/null 2>&1; }
set -- --anchored --wildcards --wildcards-match-slash "$@"
if offers --sort=name; then set -- --sort=name "$@"; fi
if offers --xattrs; then set -- --xattrs "$@"; fi
if [ -e /sys/fs/selinux/enforce ] && offers --selinux; then set -- --selinux "$@"; fi
work=$(mktemp -d 2>&1) || stop failed 1 "$work"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM PIPE
text=$(mkfifo -- "$work/copy" 2>&1) || stop failed 1 "$text"
sha256sum <"$work/copy" >"$work/sum" 2>/dev/null &
hasher=$!
trap 'kill "$hasher" 2>/dev/null; rm -rf -- "$work"' EXIT
say tree
{
  for name in * .[!.]* ..?*; do
    if [ -e "$name" ] || [ -L "$name" ]; then printf '%s\0' "$name"; fi
  done | tar --create --file=- --format=posix \
    --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' "$@" --null --no-unquote --files-from=-
  echo $? >"$work/code"
} | tee -- "$work/copy"
wait
trap 'rm -rf -- "$work"' EXIT
read -r sum rest <"$work/sum"
read -r code rest <"$work/code"
printf '\0sum\0%s\0%s\0' "$sum" "$code" >&2
