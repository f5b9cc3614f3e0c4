#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
# The store holds readings that may not have reached the cloud: only a purge deletes it.
if [ "$1" = purge ]; then
	rm -rf /var/lib/headcount
fi
