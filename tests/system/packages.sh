#!/usr/bin/env bash
# Installs the Debian packages that the system tier needs, where this is a Debian machine and we may.
set -euo pipefail
for browser in chromium chromium-browser google-chrome; do
    command -v "$browser" >/dev/null && exit 0
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null
else
    echo "Chromium is missing and cannot be installed from here: tests that need it are skipped (where CI is set: fail)"
fi
