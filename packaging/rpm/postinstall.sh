#!/bin/sh
# After unpacking; $1 is how many versions are installed then. See ../postinstall.sh.
set -e
before=
[ "$1" -gt 1 ] && before=older
sh -s configure "$before" <<'SCRIPT'
set -e
if [ "$1" != configure ]; then
	exit 0
fi
if ! getent passwd headcount >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/headcount --no-create-home --shell /usr/sbin/nologin headcount
fi
# The service reads its configuration and cannot change it.
chown root:headcount /etc/headcount
chmod 0750 /etc/headcount
if [ -f /etc/headcount/headcount.yaml ]; then
	chown root:headcount /etc/headcount/headcount.yaml
	chmod 0640 /etc/headcount/headcount.yaml
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# $2 is the version that was there before: an upgrade leaves a service that was switched off alone.
	if [ -z "$2" ]; then
		systemctl enable headcount.service
		systemctl restart headcount.service || echo "headcount does not start: see 'headcount config check' and 'journalctl -u headcount'" >&2
	else
		systemctl try-restart headcount.service || echo "headcount does not start: see 'headcount config check' and 'journalctl -u headcount'" >&2
	fi
elif [ -z "$2" ] && command -v systemctl >/dev/null; then
	systemctl enable headcount.service # an image is being built: it starts with the machine
fi
SCRIPT
