#!/bin/sh
# Before the files go, for good: "remove" in Debian, 0 versions that stay in RPM.
set -e
if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if command -v systemctl >/dev/null; then
		if [ -d /run/systemd/system ]; then
			systemctl stop headcount-cloud.service
		fi
		systemctl disable headcount-cloud.service
	fi
fi
