#!/bin/sh
# First process of a lab host: makes of a container what systemd takes for a machine, then becomes systemd.
# The lab's files of this host are in /opt/lab.
set -eu

# Each hierarchy is a mount of its own, and only a bind remount makes a bind mount writable.
while read -r _ at type _; do
    case $type in
    cgroup | cgroup2) mount -o remount,rw,bind "$at" ;;
    esac
done </proc/self/mounts
mount -o remount,rw,bind /sys
mount --make-rshared /
ln -sfn null /dev/kmsg

# The engine mounts its own files over these; a host has files of its own, which can be replaced.
for name in hosts hostname resolv.conf; do
    umount "/etc/$name" 2>/dev/null || true
    [ -s "/etc/$name" ] || cp "/opt/lab/$name" "/etc/$name"
done
cp /opt/lab/hosts /etc/hosts

# All hosts share one kernel; each has its own boot.
cat /proc/sys/kernel/random/uuid >/run/boot-id
mount --bind /run/boot-id /proc/sys/kernel/random/boot_id

# Where addresses of Services are, for a host without kube-proxy.
if [ -s /opt/lab/service-route ]; then
    # shellcheck disable=SC2046 # its words are arguments
    ip route replace $(cat /opt/lab/service-route)
fi

exec /sbin/init
