"""What happens to the storage when something breaks. Breaks it: for scenarios, never for a site in use."""

import threading
import time
import uuid

import pytest
from faults import check_refuses, journal, wait_until

testinfra_hosts = ["ansible://storage"]
pytestmark = pytest.mark.unit("nfs-ganesha")

UNIT = "nfs-ganesha"
DATA = "/srv/vitrine"
FOLDER = f"{DATA}/omero"
# The nfs-cp of libnfs 4 writes no more than 1 kB over version 4 (docs/testing.md).
SIZE = "1000"


@pytest.fixture
def client(variables, reach):
    """Return the OMERO.server that writes, as the exports' client."""
    return reach(variables["groups"]["omero_readwrite"][0])


@pytest.fixture
def url(variables):
    """Return a function from a file's name to its libnfs URL on the read-write export, as OMERO's system user."""
    address, uid = variables["internal_address"], variables["omero_system_uid"]
    return lambda name: f"nfs://{address}/omero/{name}?version=4&uid={uid}&gid={uid}"


@pytest.fixture
def name(host):
    """Return the beginning of names that no server remembers, and remove what was made under it."""
    beginning = f".vitrine-fault-{uuid.uuid4().hex}"
    yield beginning
    host.run("rm --force %s/%s*", FOLDER, beginning)


@pytest.fixture
def kept(client, url, name):
    """Put a file on the export and return a function that tells whether it reads as it was written."""
    client.check_output("head --bytes=%s /dev/urandom > /tmp/kept", SIZE)

    def put():
        return client.run("timeout 10 nfs-cp /tmp/kept %s", url(name)).rc == 0

    # A server that has just started takes no new files yet: those who had some open come first.
    wait_until(put, "the server took no file")
    wanted = client.check_output("sha256sum < /tmp/kept")
    return lambda: client.run("timeout 10 nfs-cat %s | sha256sum", url(name)).stdout.strip() == wanted


@pytest.mark.usefixtures("kept")
def test_killed(host, client, url, name):
    """A server killed while a client writes starts again by itself; every file that was taken is whole."""
    copies = (
        "head --bytes=1000 /dev/urandom > /tmp/source; end=$(($(date +%s) + 10));"
        " for n in $(seq 1000); do test $(date +%s) -lt $end || break;"
        f" timeout 30 nfs-cp /tmp/source $(echo '{url('NAME')}' | sed s/NAME/{name}-$n/) >/dev/null 2>&1"
        " && echo $n; done"
    )
    seen = []
    thread = threading.Thread(target=lambda: seen.append(client.run(copies).stdout.split()))
    thread.start()
    time.sleep(4)
    before = host.check_output("systemctl show --property=NRestarts --value %s", UNIT)
    host.check_output("kill -KILL $(systemctl show --property=MainPID --value %s)", UNIT)
    thread.join()
    said = seen[0]
    assert said, "not a single file was written before"
    wait_until(lambda: client.run("timeout 10 nfs-ls %s", url("")).rc == 0, "the server did not start again by itself")
    assert host.check_output("systemctl show --property=NRestarts --value %s", UNIT) != before, "it was not killed"
    wanted = client.check_output("sha256sum < /tmp/source").split()[0]
    found = host.check_output(f"cd {FOLDER} && sha256sum {name}-*")
    whole = {line.split("-")[-1] for line in found.splitlines() if line.startswith(wanted)}
    assert not set(said) - whole, f"lost or damaged: {sorted(set(said) - whole)}"


def test_rebooted(reboot, kept):
    """After a reboot of the host its files can be read again, without anyone's help."""
    reboot()
    wait_until(kept, "the export did not come back")


# The guard is the database's, where each of the faults is tried.
@pytest.mark.parametrize("what", ["gone", "that of another host"])
def test_wrong_volume(host, machine, kept, what):
    """With its volume {what} the server does not start and says why; when that is mended it starts by itself."""
    check_refuses(host, machine, UNIT, DATA, what)
    wait_until(kept, "the file did not come back as it was")


@pytest.fixture
def small_volume(host, machine):
    """Put the exported files on a small volume for the time of a check."""
    host.check_output("systemctl stop %s", UNIT)
    machine(
        "mkdir -p /mnt/small; mount -t tmpfs -o size=40m tmpfs /mnt/small;"
        f" cp -a {DATA}/.vitrine-volume /mnt/small; mkdir /mnt/small/omero;"
        f" chown --reference={FOLDER} /mnt/small/omero;"
        f" mount --bind /mnt/small {DATA}"
    )
    host.check_output("systemctl start %s", UNIT)
    yield
    host.check_output("systemctl stop %s", UNIT)
    machine(f"umount {DATA}; umount /mnt/small; rmdir /mnt/small")
    host.check_output("systemctl start %s", UNIT)


@pytest.mark.usefixtures("small_volume")
def test_disk_full(host, client, url, name, kept):
    """On a full disk a write is refused, what was there stays whole, and with space freed all goes on by itself."""
    begun = time.time()
    host.check_output(f"dd if=/dev/zero of={DATA}/ballast bs=4k status=none; test -s {DATA}/ballast")
    seen = client.run("timeout 10 nfs-cp /tmp/kept %s", url(name + "-more"))
    assert seen.rc != 0, "the server took more than there is room for"
    assert kept(), "a file that was there is damaged"
    assert host.run("systemctl restart %s", UNIT).rc != 0, "it started on a full volume"
    said = journal(host, UNIT, begun)
    assert "full, the limit is 95 %" in said, said
    host.check_output("rm %s/ballast", DATA)
    wait_until(kept, "the server did not start by itself")
