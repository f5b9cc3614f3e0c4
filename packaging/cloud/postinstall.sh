#!/bin/sh
# After unpacking, as a Debian package or an RPM: the user, who may read the configuration, and the
# service. A new installation starts by hand, once its configuration says where it listens.
set -e
case $1 in
abort-*) exit 0 ;;
esac
if ! getent passwd headcount-cloud >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/headcount-cloud --no-create-home --shell /usr/sbin/nologin headcount-cloud
fi
chown root:headcount-cloud /etc/headcount-cloud
chmod 0750 /etc/headcount-cloud
if [ -f /etc/headcount-cloud/cloud.yaml ]; then
	chown root:headcount-cloud /etc/headcount-cloud/cloud.yaml
	chmod 0640 /etc/headcount-cloud/cloud.yaml
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart headcount-cloud.service || echo "headcount-cloud does not start: see 'journalctl -u headcount-cloud'" >&2
fi
