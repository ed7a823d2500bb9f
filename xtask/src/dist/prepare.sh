# Makes the users: the first may use sudo for everything.
for user in "$@"; do
    useradd --no-create-home --home-dir /nonexistent --shell /bin/bash "$user"
done
echo "$1 ALL=(ALL) NOPASSWD: ALL" > /etc/sudoers.d/user
echo "127.0.0.1 localhost $(hostname)" > /etc/hosts
