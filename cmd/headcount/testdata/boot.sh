#!/bin/sh
# Boots systemd with nothing but a hub to manage, in namespaces and control groups of its own.
# boot.sh ROOT PROGRAM CONFIG GROUP, started as
#   unshare --mount --pid --fork --uts --ipc --kill-child boot.sh …
set -e
root=$1 program=$2 config=$3 group=$4
if [ "$5" != inside ]; then
	for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
		if [ -f "$h/cgroup.procs" ] && [ ! -L "$h" ]; then
			mkdir -p "$h/$group"
			echo 0 >"$h/$group/cgroup.procs" 2>/dev/null || true # cpuset wants to be told its CPUs first
		fi
	done
	exec unshare --cgroup "$0" "$@" inside
fi
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p etc/headcount etc/systemd/system proc sys dev run tmp var/lib var/log usr opt/headcount root home old
for d in bin sbin lib lib64; do ln -s usr/$d $d; done
mount --bind /usr usr
mount -o remount,bind,ro usr
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
cp -a /etc/nsswitch.conf /etc/ld.so.cache /etc/login.defs etc/
printf 'root:x:0:0::/root:/bin/sh\n' >etc/passwd
printf 'root:x:0:\ndialout:x:20:\nnogroup:x:65534:\n' >etc/group
echo 0123456789abcdef0123456789abcdef >etc/machine-id
cp "$program" opt/headcount/headcount
chmod 755 opt/headcount/headcount
cp "$config" etc/headcount/headcount.yaml
chmod 600 etc/headcount/headcount.yaml
printf '[Unit]\nDescription=As little as possible\n' >etc/systemd/system/mini.target
pivot_root . old
umount -l /old
export container=test
exec /lib/systemd/systemd --system --unit=mini.target --log-target=console --log-level=notice --show-status=no
