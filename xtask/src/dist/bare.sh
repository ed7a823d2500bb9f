# What makes the rest worth anything: here is nothing that a developer's machine has.
for program in cargo rustc gcc cc; do
    ! command -v $program || exit 1
done
[ "$(grep -c : /proc/net/dev)" = 1 ]
[ -z "${HOME:-}" ]
