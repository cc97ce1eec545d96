#!/usr/bin/env bash
# Installs ccdtasks from this checkout on Debian 12, Debian 13 or Ubuntu 24.04.
set -euo pipefail

usage() {
    cat <<'END'
./install.sh              install or upgrade the service: Podman, the program, its user, the session image, the systemd unit
./install.sh --demo       show whole runs on this machine, without any account; installs Podman if it is missing, nothing else
./install.sh --uninstall  remove the service and the program; configuration and data stay (the command says where)
./install.sh --help       this text

As root, or as a user with sudo. Safe to run again: an upgrade is a newer checkout and the same command.
END
}

readonly service_user=ccdtasks
readonly state_dir=/var/lib/ccdtasks
readonly config_file=/etc/ccdtasks/config.toml
readonly unit_file=/etc/systemd/system/ccdtasks.service
readonly program_home=/opt/ccdtasks
readonly program=/usr/local/bin/ccdtasks
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly checkout

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '       %s\n' "$2" >&2
    exit 1
}

check_machine() {
    local id version
    id=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
    version=$(. /etc/os-release && echo "${VERSION_ID:-99}")
    case "$id" in
        *debian*) ;;
        *) fail "this is no Debian or Ubuntu, and I know how to install Podman only there" \
            "docs/install.md says what the script does, step by step" ;;
    esac
    case "${id%% *}-${version%%.*}" in
        debian-[0-9] | debian-1[01] | ubuntu-1? | ubuntu-2[0-3]) fail "this release is too old: Podman 4.3 and Python 3.11 are needed" \
            "Debian 12, Debian 13 and Ubuntu 24.04 have them" ;;
    esac
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# Packages that are there are not touched; the package lists are fetched only when something is missing.
install_packages() {
    local package log missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        fail "${missing[*]} must be installed, and that needs root" "run this as root, or install sudo"
    say "Installing ${missing[*]}"
    log=$(mktemp)
    as_root apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update >"$log" 2>&1 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
            -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
            install --no-install-recommends "${missing[@]}" >>"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "apt could not install the packages; its last words are above" "the whole output is in $log"
    }
    rm -f "$log"
}

# uidmap, slirp4netns, dbus-user-session: rootless containers with limits. netavark, aardvark-dns, iptables: network while building.
readonly podman_packages=(podman crun uidmap slirp4netns fuse-overlayfs netavark aardvark-dns iptables dbus-user-session
    ca-certificates python3 python3-venv)

# The system's bundle has what the administrator added to it, too: some networks inspect TLS with a certificate of their own.
trust_system_certificates() {
    local bundle=/etc/ssl/certs/ca-certificates.crt
    [ ! -r "$bundle" ] || export PIP_CERT="${PIP_CERT:-$bundle}" SSL_CERT_FILE="${SSL_CERT_FILE:-$bundle}"
}

### the service ###

install_program() {
    say "Installing the program into $program_home"
    local log
    log=$(mktemp)
    PIPX_HOME=$program_home PIPX_BIN_DIR=$(dirname "$program") PIPX_DEFAULT_PYTHON=/usr/bin/python3 \
        pipx install --force "$checkout" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "pipx could not install ccdtasks; its last words are above" "the whole output is in $log"
    }
    rm -f "$log"
    "$program" --version
}

make_user() {
    id "$service_user" >/dev/null 2>&1 || {
        say "Making the user $service_user, who owns the containers"
        useradd --system --user-group --home-dir "$state_dir" --shell /usr/sbin/nologin "$service_user"
    }
    install -d -m 0700 -o "$service_user" -g "$service_user" "$state_dir"
    # Sub-ids are what makes root inside a container nobody outside; a system user gets none by itself.
    local kind file first
    for kind in uid gid; do
        file=/etc/sub$kind
        grep -qs "^$service_user:" "$file" || {
            first=$(awk -F: 'BEGIN {end = 100000} $2 + $3 > end {end = $2 + $3} END {print end}' "$file" 2>/dev/null || echo 100000)
            usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$service_user"
        }
    done
}

as_service_user() {
    local uid
    uid=$(id -u "$service_user")
    (cd "$state_dir" && runuser -u "$service_user" -- env HOME="$state_dir" XDG_RUNTIME_DIR="/run/user/$uid" \
        DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus" "$@")
}

prepare_podman() {
    local uid storage=$state_dir/.config/containers/storage.conf
    uid=$(id -u "$service_user")
    # Debian's rootless default may be vfs, which copies the whole image for each container: half a minute a start.
    [ -e "$storage" ] || {
        install -d -m 0700 -o "$service_user" -g "$service_user" "$state_dir/.config" "${storage%/*}"
        printf '[storage]\ndriver = "overlay"\n' | install -m 0644 -o "$service_user" -g "$service_user" /dev/stdin "$storage"
    }
    # Without delegation the limits of a rootless container are silently not applied.
    install -d "/etc/systemd/system/user@$uid.service.d" "$unit_file.d"
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"/etc/systemd/system/user@$uid.service.d/ccdtasks.conf"
    cat >"$unit_file.d/user.conf" <<END
# Written by install.sh: what depends on the number that this machine gave to the user $service_user.
[Unit]
Wants=user@$uid.service
After=user@$uid.service
[Service]
Environment=XDG_RUNTIME_DIR=/run/user/$uid
END
    install -m 0644 "$checkout/systemd/ccdtasks.service" "$unit_file"
    systemctl daemon-reload
    loginctl enable-linger "$service_user"
    systemctl start "user@$uid.service"
    as_service_user systemctl --user --quiet enable --now podman.socket ||
        fail "the Podman socket of the user $service_user could not be started" "journalctl -b _UID=$uid says why"
}

write_config() {
    install -d -m 0750 -o root -g "$service_user" "${config_file%/*}"
    if [ ! -e "$config_file" ]; then
        say "Writing $config_file from the example"
        install -m 0640 -o root -g "$service_user" "$checkout/config.example.toml" "$config_file"
    fi
}

build_image() {
    say "The session image: Chromium, a desktop, Claude Code (about 3 minutes the first time)"
    as_service_user env CCDTASKS_CONFIG="$config_file" "$program" image build ||
        fail "the session image could not be built" "the reason is above; when it is gone, run ./install.sh again"
}

start_service() {
    say "Starting the service"
    systemctl --quiet enable ccdtasks.service
    systemctl restart ccdtasks.service || {
        journalctl --no-pager -n 20 -u ccdtasks.service >&2 || true
        fail "the service does not start; its last words are above" "correct $config_file, then: systemctl restart ccdtasks"
    }
    say "What the doctor says"
    if as_service_user env CCDTASKS_CONFIG="$config_file" "$program" doctor; then
        say "ccdtasks is installed and running."
    else
        say "ccdtasks is installed and running; what the doctor misses is above."
        echo "Tokens and keys go into $config_file; after a change: systemctl restart ccdtasks"
    fi
}

install_service() {
    [ "$(id -u)" -eq 0 ] || {
        command -v sudo >/dev/null || fail "installing a service needs root" "run this as root, or install sudo"
        exec sudo --preserve-env=PIP_CERT,PIP_INDEX_URL,SSL_CERT_FILE,http_proxy,https_proxy,no_proxy "$checkout/install.sh"
    }
    [ -d /run/systemd/system ] || fail "systemd does not run here, and the service needs it" \
        "to see ccdtasks work without it: ./install.sh --demo"
    check_machine
    trust_system_certificates
    install_packages "${podman_packages[@]}" pipx
    make_user
    install_program
    write_config
    prepare_podman
    build_image
    start_service
}

### the demonstration ###

run_demo() {
    check_machine
    trust_system_certificates
    install_packages "${podman_packages[@]}"
    local venv=$checkout/.cache/demo
    [ "$(cat "$venv/version" 2>/dev/null || true)" = "$(source_hash)" ] || {
        say "Installing ccdtasks into $venv (nothing outside of the checkout)"
        rm -rf "$venv"
        /usr/bin/python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check "$checkout" || fail "pip could not install ccdtasks; its reason is above"
        source_hash >"$venv/version"
    }
    prepare_own_podman
    say "The session image: Chromium, a desktop, Claude Code (about 3 minutes the first time)"
    "$venv/bin/ccdtasks" image build || fail "the session image could not be built; the reason is above"
    say "The demonstration"
    "$venv/bin/ccdtasks" demo
}

source_hash() {
    (cd "$checkout" && find ccdtasks container systemd pyproject.toml config.example.toml -type f -not -name '*.pyc' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
}

# Podman as whoever asks for the demonstration, with a service that ends with it.
prepare_own_podman() {
    if [ "$(id -u)" -ne 0 ]; then
        grep -qs "^$(id -un):" /etc/subuid || as_root usermod --add-subuids 231072-296607 --add-subgids 231072-296607 "$(id -un)"
        [ -n "${XDG_RUNTIME_DIR:-}" ] || fail "this shell is no login of its own (XDG_RUNTIME_DIR is not set)" \
            "log in as $(id -un) directly, by ssh or at the console, and try again"
        # Debian 12's rootless default, vfs, copies the whole image for each container. Where you have no better storage yet,
        # the demonstration has one of its own; asking Podman which one you have would already make one.
        if [ ! -d "${XDG_DATA_HOME:-$HOME/.local/share}/containers/storage/overlay-images" ]; then
            export XDG_DATA_HOME=$checkout/.cache/demo-data STORAGE_DRIVER=overlay
        fi
    fi
    demo_dir=$(mktemp -d)
    podman system service --time=0 "unix://$demo_dir/podman.sock" 2>"$demo_dir/podman.log" &
    demo_podman=$!
    trap 'kill "$demo_podman" 2>/dev/null; rm -rf "$demo_dir"' EXIT
    export CCDTASKS_PODMAN__SOCKET=$demo_dir/podman.sock
}

### away with it ###

uninstall() {
    [ "$(id -u)" -eq 0 ] || exec sudo "$checkout/install.sh" --uninstall
    systemctl disable --now ccdtasks.service 2>/dev/null || true
    local uid
    uid=$(id -u "$service_user" 2>/dev/null || true)
    if [ -n "$uid" ]; then
        as_service_user podman rm --all --force >/dev/null 2>&1 || true
        loginctl disable-linger "$service_user" || true
        rm -rf "/etc/systemd/system/user@$uid.service.d/ccdtasks.conf"
    fi
    rm -rf "$unit_file" "$unit_file.d"
    systemctl daemon-reload
    PIPX_HOME=$program_home PIPX_BIN_DIR=$(dirname "$program") pipx uninstall ccdtasks 2>/dev/null || true
    rm -rf "$program_home"
    echo "Removed. Still there: ${config_file%/*} (configuration), $state_dir (data and images), the user $service_user."
}

case "${1:-}" in
    "") install_service ;;
    --demo) run_demo ;;
    --uninstall) uninstall ;;
    -h | --help) usage ;;
    *) usage >&2; fail "unknown option: $1" ;;
esac
