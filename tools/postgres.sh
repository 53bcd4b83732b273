#!/usr/bin/env bash
# A PostgreSQL server for the slow tests, where it can be installed (Debian, as root); else one line that says why not.
# The tests start it themselves, on a free port of 127.0.0.1, in a temporary directory.
set -euo pipefail
if compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "PostgreSQL is not installed, and only root on Debian can do it here: its tests are skipped"
  exit 0
fi
apt-get install --yes --no-install-recommends postgresql >/dev/null 2>&1 ||
  { apt-get update >/dev/null 2>&1 && apt-get install --yes --no-install-recommends postgresql >/dev/null 2>&1; } ||
  echo "PostgreSQL could not be installed by apt-get: its tests are skipped"
