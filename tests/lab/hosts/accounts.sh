#!/bin/sh
# Accounts of a lab host: `ops` may do everything by sudo, `pat` too once sudo has the password.
# Standard input: pat's password. $1: the public key with which both log in.
set -eu
for user in ops pat; do
    id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
    install -d -m 0700 -o "$user" -g "$user" "/home/$user/.ssh"
    printf '%s\n' "$1" >"/home/$user/.ssh/authorized_keys"
    chown "$user:$user" "/home/$user/.ssh/authorized_keys"
    chmod 0600 "/home/$user/.ssh/authorized_keys"
done
{ printf 'pat:' && cat; } | chpasswd
cat >/etc/sudoers.d/lab <<'END'
ops ALL=(ALL:ALL) NOPASSWD: ALL
pat ALL=(ALL:ALL) ALL
END
chmod 0440 /etc/sudoers.d/lab
cat >/etc/ssh/sshd_config.d/lab.conf <<'END'
PasswordAuthentication no
PermitRootLogin no
UseDNS no
END
# Without host keys it has failed until now.
systemctl reset-failed ssh.service
systemctl restart ssh.service
