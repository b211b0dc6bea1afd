#!/usr/bin/env bash
# Put Debian's promtool and prometheus into a folder, for the tests of deploy/monitoring.
# Nothing is installed: usage: fetch_prometheus.sh FOLDER
set -euo pipefail
folder=$(realpath "$1")
test -x "$folder/promtool" -a -x "$folder/prometheus" && exit
command -v apt-get >/dev/null || {
	echo "error: no apt-get here: put promtool and prometheus (2.42 or later) on PATH" >&2
	exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
cd "$scratch"
apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }
dpkg-deb -x prometheus_*.deb .
cp usr/bin/promtool usr/bin/prometheus "$folder"
