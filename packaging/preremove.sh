#!/bin/sh
# Before the files go: stop the service, unless a newer version follows (postinstall restarts it).
set -e
if [ "$1" = remove ] && command -v systemctl >/dev/null; then
	if [ -d /run/systemd/system ]; then
		systemctl stop headcount.service
	fi
	systemctl disable headcount.service
fi
