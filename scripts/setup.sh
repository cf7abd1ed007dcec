#!/bin/sh
# Set up what the Makefile needs.
#   setup.sh environment   the Python environment in .venv, pinned by requirements.lock
#   setup.sh servers       PostgreSQL, Redis, Orthanc and DCMTK for the tests; without them those tests are skipped
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

# The tests start servers of their own: the packages' services neither start now nor at the next boot.
install_servers() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    install_packages "$@"
    for service in postgresql redis-server orthanc; do
        case " $* " in *" $service "*) update-rc.d "$service" disable >/dev/null 2>&1 || true ;; esac
    done
}

servers() {
    missing=""
    [ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null || command -v initdb)" ] || missing="postgresql"
    command -v redis-server >/dev/null || missing="$missing redis-server"
    command -v storescu >/dev/null || missing="$missing dcmtk"
    [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc orthanc-dicomweb"
    [ -z "$missing" ] && return
    if can_install; then
        # shellcheck disable=SC2086  # a list of words
        install_servers $missing || echo "setup: could not install $missing; their tests are skipped" >&2
    else
        echo "setup: without $missing, their tests are skipped; install them to run all" >&2
    fi
}

case "${1:-}" in
    environment | servers) "$1" ;;
    *) echo "usage: $0 environment|servers" >&2; exit 2 ;;
esac
