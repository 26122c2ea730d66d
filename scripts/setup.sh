# shellcheck shell=bash
# Sourced by the other scripts: sets up what they need on this machine, and reports what it does.
#
#   need SET...      Debian packages (controller, containers, cloud, browser): installs missing ones, or lists them
#   virtualenv       creates .vitrine/venv with exactly the packages of requirements.lock, again whenever that file has changed
#   run_module NAME  continues in scripts/lib/vitrine_cli/NAME.py
#
# Caches are in $VITRINE_CACHE, otherwise in $XDG_CACHE_HOME/vitrine, otherwise in ~/.cache/vitrine.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$project/.vitrine/venv
cache=${VITRINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vitrine}
setup_started=${EPOCHREALTIME/[.,]/}

# Maps what shows that a package is installed (a command, or a file if it has no command) to the package.
declare -A packages=(
    [controller]="python3=python3 ssh=openssh-client git=git"
    [containers]="podman=podman crun=crun /usr/lib/podman/netavark=netavark /usr/lib/podman/aardvark-dns=aardvark-dns
        iptables=iptables ip=iproute2 mmdebstrap=mmdebstrap mke2fs=e2fsprogs debugfs=e2fsprogs ssh-keygen=openssh-client
        /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring"
    # PostgreSQL for the tests' OpenStack.
    [cloud]="pg_createcluster=postgresql ip=iproute2 nsenter=util-linux"
    [browser]="chromium|google-chrome|chromium-browser=chromium chromedriver=chromium-driver"
)

say() { printf '    %s\n' "$*"; }

# Prints the comment at the top of a script.
show_help() { sed -n '2,/^$/ { s/^# \{0,1\}//p }' "$1"; }

wants_help() {
    local argument
    for argument in "$@"; do
        case $argument in
            -h | --help) return 0 ;;
            --) return 1 ;;
        esac
    done
    return 1
}

is_there() {
    local name
    for name in ${1//|/ }; do
        if [[ $name == /* ]]; then
            # The paths of such files are known only for Debian and its derivatives.
            if [[ -e $name ]] || ! type -P dpkg >/dev/null; then return 0; fi
        elif PATH=$PATH:/usr/sbin:/sbin type -P "$name" >/dev/null; then
            return 0
        fi
    done
    return 1
}

need() {
    local set item missing=()
    for set in "$@"; do
        for item in ${packages[$set]}; do
            is_there "${item%=*}" || missing+=("${item##*=}")
        done
        # Debian has a part of Python's standard library in a separate package.
        if [[ $set == controller ]] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            missing+=("python3-venv")
        fi
    done
    if [[ ${#missing[@]} == 0 ]]; then return 0; fi
    if [[ $EUID != 0 ]] || ! type -P apt-get >/dev/null; then
        printf 'Missing on this machine: %s\nInstall them as root and run this again; on Debian and Ubuntu: apt-get install %s\n' \
            "${missing[*]}" "${missing[*]}" >&2
        return 1
    fi
    say "set-up: apt-get install ${missing[*]}"
    apt_get update
    apt_get install --yes --no-install-recommends "${missing[@]}"
}

# Quiet unless it fails.
apt_get() {
    local output
    if ! output=$(DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>&1 </dev/null); then
        printf '%s\napt-get %s failed; see its output above.\n' "$output" "$*" >&2
        return 1
    fi
}

# Prints the first Python that is new enough; the system's own is preferred.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    echo "python3 is $(python3 --version 2>&1); expected 3.11 or newer. Install a newer Python." >&2
    return 1
}

use_system_certificates() {
    local bundle
    # If HTTPS is inspected, only the system's bundle contains the inspector's CA. pip and uv bring their own bundles.
    for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
        if [[ -e $bundle ]]; then
            export SSL_CERT_FILE=${SSL_CERT_FILE:-$bundle} PIP_CERT=${PIP_CERT:-$bundle}
            return 0
        fi
    done
}

virtualenv() {
    local python state stamp=$venv/.complete
    # Two scripts may be started at once.
    mkdir -p "$project/.vitrine"
    chmod 0700 "$project/.vitrine"
    exec 8>"$project/.vitrine/setup.lock"
    flock 8
    # A moved checkout needs a new virtual environment too: its commands contain the absolute path of their interpreter.
    state="$(sha256sum <"$project/requirements.lock") $venv"
    if [[ ! -e $stamp || $(<"$stamp") != "$state" ]] || ! "$venv/bin/python" -c 'import ansible, rich, yaml' 2>/dev/null; then
        python=$(find_python)
        make_virtualenv "$python"
        # Last, so that an interrupted set-up is repeated.
        printf '%s' "$state" >"$stamp"
    fi
    exec 8>&-
}

make_virtualenv() {
    local index
    local -a from=()
    say "set-up: Python packages of requirements.lock into .vitrine/venv"
    use_system_certificates
    "$1" -m venv --clear "$venv"
    # pip installs only uv, which is among the packages, and uv installs the others, in seconds instead of minutes.
    sed -n '/^uv==/,/^    #/p' "$project/requirements.lock" >"$venv/uv.txt"
    PIP_CACHE_DIR=$cache/pip "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
        --require-hashes --no-deps --requirement "$venv/uv.txt"
    # uv does not read pip's settings, where many sites configure their mirror.
    index=$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null) && from=(--default-index "$index")
    UV_CACHE_DIR=$cache/uv "$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes \
        "${from[@]}" "$project/requirements.lock"
    # Other packages are compiled at their first import; Ansible is compiled here for users who have disabled that.
    "$venv/bin/python" -c 'import ansible; print(*ansible.__path__)' | xargs "$venv/bin/python" -m compileall -q -j 0
}

run_module() {
    local module=$1
    shift
    # If it were set, Ansible's modules would be compiled again at every start.
    unset PYTHONDONTWRITEBYTECODE
    # Ansible does not start in a locale without UTF-8.
    if [[ $(locale charmap 2>/dev/null) != UTF-8 ]]; then export LC_ALL=C.UTF-8; fi
    export PATH=$venv/bin:$PATH VIRTUAL_ENV=$venv ANSIBLE_CONFIG=$project/ansible.cfg
    export PYTHONPATH=$project/scripts/lib VITRINE_SETUP_MICROSECONDS=$((${EPOCHREALTIME/[.,]/} - setup_started))
    exec "$venv/bin/python" -m "vitrine_cli.$module" "$@"
}
