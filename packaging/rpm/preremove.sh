#!/bin/sh
# Before the files go; $1 is how many versions stay. An upgrade leaves the service to the newer one.
set -e
if [ "$1" = 0 ] && command -v systemctl >/dev/null; then
	if [ -d /run/systemd/system ]; then
		systemctl stop headcount.service
	fi
	systemctl disable headcount.service
fi
