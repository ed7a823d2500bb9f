# Sends the regular files $1, $2, …, each as a record of its size, so many bytes, and a record of the hash that the file
# has afterwards. What became shorter meanwhile is filled up with zeros: the hash tells.
export LC_ALL=C LANGUAGE=C
say() { said=$1; shift; printf '%s\0' "$said" "$#" "$@"; }
for path do
  if ! size=$(stat -L -c %s -- "$path" 2>&1); then
    case $size in
      *'No such file or directory' | *'Not a directory') say missing ;;
      *) say failed 1 "$size" ;;
    esac
  elif [ ! -f "$path" ]; then
    say special
  elif ! text=$({ : <"$path"; } 2>&1); then
    say failed 1 "$text"
  else
    say file "$size"
    { head -c "$size" -- "$path"; head -c "$size" /dev/zero; } 2>/dev/null | head -c "$size"
    if text=$({ sha256sum <"$path"; } 2>&1); then
      say end "${text%% *}"
    else
      say failed 1 "$text"
    fi
  fi
done
