#!/usr/bin/env bash
# Installs the Debian packages that the system tier needs, where this is a Debian machine and we may.
set -euo pipefail
wanted=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    wanted+=(chromium)
command -v redis-server >/dev/null || wanted+=(redis-server) # the state of a Ray head that may be lost
command -v ip >/dev/null || wanted+=(iproute2)               # machines made of network namespaces
command -v nsenter >/dev/null || wanted+=(util-linux)
command -v promtool >/dev/null || wanted+=(prometheus)     # scrapes a run, checks rules
[ -n "$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null)" ] || wanted+=(postgresql) # where judgements may be kept
command -v prometheus-alertmanager >/dev/null || wanted+=(prometheus-alertmanager)
if [ ${#wanted[@]} = 0 ]; then
    exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "${wanted[@]}" >/dev/null
else
    echo "missing and not to be installed from here: ${wanted[*]}; tests that need them are skipped (where CI is set: fail)"
fi
