#!/bin/sh
# Set up what the Makefile needs.
#   setup.sh environment   the Python environment in .venv, pinned by requirements.lock
#   setup.sh servers       PostgreSQL and Redis for the tests; without them those tests are skipped
# As root on Debian or Ubuntu, packages that are missing are installed; elsewhere a message says what to install.
set -eu
cd "$(dirname "$0")/.."

can_install() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null
}

install_packages() {
    echo "setup: installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

find_python() {
    for python in python3.11 python3.12 python3; do
        if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
}

can_make_environment() {
    [ -n "$1" ] && "$1" -c 'import ensurepip, venv' 2>/dev/null
}

environment() {
    python=$(find_python)
    if ! can_make_environment "$python" && can_install; then
        install_packages python3 python3-venv
        python=$(find_python)
    fi
    if ! can_make_environment "$python"; then
        echo "setup: needs Python 3.11 or 3.12 with venv; on Debian or Ubuntu: apt-get install python3 python3-venv" >&2
        exit 1
    fi
    echo "setup: making .venv with $("$python" --version); the first time takes some minutes"
    [ -x .venv/bin/pip ] || "$python" -m venv --clear .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
}

servers() {
    missing=""
    [ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null || command -v initdb)" ] || missing="postgresql"
    command -v redis-server >/dev/null || missing="$missing redis-server"
    [ -z "$missing" ] && return
    if can_install; then
        # shellcheck disable=SC2086  # a list of words
        install_packages $missing || echo "setup: could not install$missing; their tests are skipped" >&2
    else
        echo "setup: without $missing, their tests are skipped; install them to run all" >&2
    fi
}

case "${1:-}" in
    environment | servers) "$1" ;;
    *) echo "usage: $0 environment|servers" >&2; exit 2 ;;
esac
