#!/bin/sh
set -e
if ! getent passwd headcount >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/headcount --shell /usr/sbin/nologin headcount
fi
chgrp headcount /etc/headcount /etc/headcount/headcount.yaml
chmod 0750 /etc/headcount
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl enable headcount.service
	systemctl restart headcount.service
fi
