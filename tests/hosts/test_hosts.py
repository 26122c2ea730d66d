"""What every layer above takes for granted of a host."""

import pathlib
import time

import pytest
from conftest import can_connect, names_of

testinfra_hosts = ["ansible://hosts"]


def test_names(host, variables):
    """Every host of the site is known by name, at its internal address."""
    for name, address in variables["site_addresses"].items():
        seen = host.run("getent ahostsv4 %s", name).stdout.split()
        assert seen[:1] == [address], f"{name} resolves to {seen[:1] or 'nothing'}, not {address}"


def test_clock(host):
    """The clock agrees with the controller's to two seconds."""
    before = time.time()
    seen = float(host.check_output("date +%s.%N"))
    after = time.time()
    assert before - 2 < seen < after + 2, f"the clock is {seen - after:+.1f} s off"


def test_certificates(host, variables):
    """Every extra certificate authority of the site is trusted by the system's bundle."""
    names = names_of(host, "ca_certificates")
    for certificate in variables["ca_certificates_files"]:
        name = pathlib.Path(certificate).name
        seen = host.run("openssl verify -CAfile %s %s", names["bundle"], f"{names['dir']}/{name}")
        assert seen.rc == 0, f"{name}: {seen.stderr.strip() or seen.stdout.strip()}"


def test_login_by_key_only(host):
    """sshd takes no passwords and no root password."""
    settings = host.check_output("sshd -T")
    assert "passwordauthentication no" in settings
    assert "permitrootlogin yes" not in settings


def test_administrators(host, variables):
    """Administrators have an account, a locked password and sudo."""
    for user in variables["admin_users_list"] + variables["admin_users_list_extra"]:
        name = user["name"]
        assert host.user(name).exists, f"no account {name}"
        assert host.user(name).password.startswith("!"), f"{name} has a password"
        seen = host.run("runuser --user=%s -- sudo --non-interactive id --user", name)
        assert seen.stdout.strip() == "0", f"{name} cannot become root: {seen.stderr.strip()}"


def test_firewall_is_default_deny(host):
    """Input that no rule allows is dropped, also after a reboot."""
    chain = host.check_output("nft list chain inet vitrine input")
    assert "policy drop" in chain, chain
    assert host.service("nftables").is_enabled


def test_closed_door(host, outside):
    """A port that a service opens but the group model does not cannot be reached by others."""
    port = 47999
    other = outside(port)[0]
    server = f"import socket, time; s = socket.create_server(('0.0.0.0', {port})); time.sleep(8)"
    host.run("systemd-run --quiet --collect --unit=vitrine-door-probe python3 -c %s", server)
    try:
        for _ in range(20):
            if can_connect(host, "127.0.0.1", port):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the probe did not come up, so that nothing was tried")
        assert not other.reaches(port), f"{other.name} reached port {port}"
    finally:
        host.run("systemctl stop vitrine-door-probe")


def test_kernel_settings(host, variables):
    """Kernel settings of the site's network are in force."""
    for key, value in variables["site_sysctl"].items():
        if key.startswith("net."):
            assert host.sysctl(key) == value, f"{key} is {host.sysctl(key)}, not {value}"


def test_limits(host, variables):
    """A service may open as many files as the site sets (kernel_settings_nofile)."""
    seen = host.check_output("systemctl show --property=DefaultLimitNOFILE --value")
    assert int(seen) == variables["kernel_settings_nofile"], f"DefaultLimitNOFILE is {seen}"


def test_runtime_directory(host):
    """Only root can create files in /run, where services look for each other's sockets."""
    place = host.file("/run")
    assert (place.user, oct(place.mode)) == ("root", "0o755"), (
        f"/run belongs to {place.user}, with mode {oct(place.mode)}"
    )


def test_packages(host, variables):
    """The site's own packages are installed."""
    missing = [name for name in variables["site_packages_extra"] if not host.package(name).is_installed]
    assert not missing
