#!/usr/bin/env bash
# Installs the Debian packages that the system tier needs, where this is a Debian machine and we may.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null
else
    echo "chromium is missing and cannot be installed from here: its tests will be skipped and say so"
fi
