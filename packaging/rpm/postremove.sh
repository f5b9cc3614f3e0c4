#!/bin/sh
# After the files are gone. Store and keys stay: delete /var/lib/headcount and /etc/headcount by hand.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	# $1 is how many versions stay: an upgrade restarts what ran.
	if [ "$1" -gt 0 ]; then
		systemctl try-restart headcount.service || true
	fi
fi
