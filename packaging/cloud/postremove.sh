#!/bin/sh
# After the files are gone. Database and keys are deleted by a purge only, in RPM by hand.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/headcount-cloud /etc/headcount-cloud
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
