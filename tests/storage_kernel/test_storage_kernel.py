"""Volumes, mounts and exports of a host with a kernel of its own."""

import uuid

import pytest

testinfra_hosts = ["ansible://storage_kernel"]


def mount_of(host, path):
    """Return source, type and options (list of str each, the last a set) of what is mounted at a path."""
    seen = host.run("findmnt --noheadings --raw --output=SOURCE,FSTYPE,OPTIONS --mountpoint %s", path).stdout.split()
    assert seen, f"nothing is mounted at {path}"
    return seen[0], seen[1], set(seen[2].split(","))


@pytest.fixture
def storage(variables, reach):
    """Return the storage host."""
    return reach(variables["groups"]["storage"][0])


@pytest.fixture
def probe(storage, variables):
    """Put a small file into the storage host's export, and take it away again."""
    name = f".vitrine-probe-{uuid.uuid4().hex}"
    path = f"/srv/vitrine/omero/{name}"
    uid = str(variables["omero_system_uid"])
    storage.run("echo promise > %s && chown %s:%s %s", path, uid, uid, path)
    yield name
    storage.run("rm --force %s %s", path, path + "-new")


@pytest.fixture
def own_probe(host, variables):
    """Put a small file into the kernel's own export, and take it away again."""
    name = f".vitrine-probe-{uuid.uuid4().hex}"
    path = f"/srv/vitrine/omero/{name}"
    uid = str(variables["omero_system_uid"])
    host.run("echo promise > %s && chown %s:%s %s", path, uid, uid, path)
    yield name
    host.run("rm --force %s %s", path, path + "-new")


@pytest.fixture
def client(variables, reach):
    """Return OMERO.server's host, a client of the kernel's exports, and a function to their libnfs URLs."""
    address, uid = variables["internal_address"], variables["omero_system_uid"]
    host = reach(variables["groups"]["omero_readwrite"][0])
    return host, lambda path: f"nfs://{address}{path}?version=4&uid={uid}&gid={uid}"


def as_omero(host, variables, command, *arguments):
    """Run a command as OMERO's system user, which exists on this host as a number only."""
    uid = str(variables["omero_system_uid"])
    return host.run(f"setpriv --reuid=%s --regid=%s --clear-groups {command}", uid, uid, *arguments)


@pytest.mark.parametrize(("path", "fstype"), [("/srv/vitrine", "xfs"), ("/srv/small", "ext4")])
def test_volume(host, variables, path, fstype):
    """The volume at {path} has its file system ({fstype}), by its label, with noatime, at boot."""
    volume = next(each for each in variables["data_volumes"] if each["path"] == path)
    source, seen, options = mount_of(host, path)
    assert seen == fstype
    assert "noatime" in options
    assert host.check_output("lsblk --noheadings --output=LABEL %s", source) == volume["label"]
    table = host.check_output("findmnt --fstab --noheadings --raw --output=SOURCE,OPTIONS %s", path)
    assert table.split()[0] == f"LABEL={volume['label']}"
    assert "nofail" in table, "without its volume the host would not boot"


@pytest.mark.parametrize("path", ["/mnt/repository", "/mnt/mistaken", "/mnt/soft", "/mnt/omero"])
def test_mounted(host, path):
    """The export at {path} is mounted by the kernel with NFS 4.1 and nothing in it is executed."""
    _, fstype, options = mount_of(host, path)
    assert fstype == "nfs4"
    assert {"vers=4.1", "proto=tcp", "noatime", "nodev", "nosuid", "noexec"} <= options
    assert ("soft" if path == "/mnt/soft" else "hard") in options


def test_read(host, probe):
    """The kernel reads the read-only export."""
    assert host.check_output("cat %s", f"/mnt/repository/{probe}") == "promise"


@pytest.mark.parametrize("path", ["/mnt/repository", "/mnt/mistaken"])
def test_read_only(host, variables, storage, probe, path):
    """A write to the read-only export at {path} is refused, however the client has mounted it."""
    writes = "rw" if path == "/mnt/mistaken" else "ro"
    assert writes in mount_of(host, path)[2]
    for command in ("touch", "rm", "cp /etc/hostname"):
        seen = as_omero(host, variables, f"{command} %s", f"{path}/{probe}{'' if command == 'rm' else '-new'}")
        assert seen.rc != 0, f"{command} was let through"
        assert "Read-only file system" in seen.stderr, f"{command}: refused for another reason: {seen.stderr}"
    assert not storage.file(f"/srv/vitrine/omero/{probe}-new").exists
    assert storage.file(f"/srv/vitrine/omero/{probe}").exists


def test_write(host, variables, storage, probe):
    """OMERO's system user writes to the read-write export."""
    seen = as_omero(host, variables, "cp /etc/hostname %s", f"/mnt/omero/{probe}-new")
    assert seen.rc == 0, seen.stderr
    written = storage.file(f"/srv/vitrine/omero/{probe}-new")
    assert written.content_string == "kernel01\n"
    assert written.uid == variables["omero_system_uid"]


def test_root(host, storage, probe):
    """Root of a client is nobody on the read-write export."""
    seen = host.run("touch %s", f"/mnt/omero/{probe}-new")
    assert seen.rc != 0, "root wrote"
    assert "Permission denied" in seen.stderr, seen.stderr
    assert host.run("rm %s", f"/mnt/omero/{probe}").rc != 0, "root removed a file"
    assert storage.file(f"/srv/vitrine/omero/{probe}").exists


def test_closed(host, variables):
    """An export of which this host is no client is not mounted."""
    server = variables["kernel_storage"]
    seen = host.run(
        "d=$(mktemp -d); timeout 60 mount -t nfs -o nfsvers=4.1,retry=0 %s $d; rc=$?; "
        "umount $d 2>/dev/null; rmdir $d; exit $rc",
        f"{server}:/closed",
    )
    assert seen.rc != 0, "it was mounted"
    assert "denied" in seen.stderr or "No such file" in seen.stderr, seen.stderr


def test_kernel_server(host):
    """The kernel's own NFS server runs, starts at boot, and speaks version 4 alone."""
    assert host.service("nfs-server").is_running
    assert host.service("nfs-server").is_enabled
    versions = host.check_output("cat /proc/fs/nfsd/versions").split()
    assert "-3" in versions, versions
    assert "+4.1" in versions, versions
    assert not host.package("nfs-ganesha").is_installed


@pytest.mark.parametrize("export", ["/omero", "/repository"])
def test_kernel_read(own_probe, client, export):
    """OMERO.server reads the kernel's export {export}, by the name that it has with nfs-ganesha."""
    other, url = client
    seen = other.run("nfs-cat %s", url(f"{export}/{own_probe}"))
    assert seen.stdout == "promise\n", f"nfs-cat: {seen.stderr.strip() or seen.stdout!r}"


@pytest.mark.parametrize("export", ["/omero", "/repository"])
def test_kernel_other_accounts(own_probe, client, export):
    """Who is not root on OMERO.server's host gets nothing of the kernel's export {export}."""
    other, url = client
    seen = other.run("runuser --user=nobody -- nfs-cat %s", url(f"{export}/{own_probe}"))
    assert seen.rc != 0, "the server believed a port that anybody may use"
    assert "promise" not in seen.stdout


def test_kernel_write(host, own_probe, client):
    """OMERO.server writes to the kernel's read-write export."""
    other, url = client
    seen = other.run("nfs-cp /etc/hostname %s", url(f"/omero/{own_probe}-new"))
    assert seen.rc == 0, seen.stderr.strip()
    written = host.file(f"/srv/vitrine/omero/{own_probe}-new").content_string
    assert written == other.file("/etc/hostname").content_string


def test_kernel_read_only(host, own_probe, client):
    """A write to the kernel's read-only export is refused by the server."""
    other, url = client
    seen = other.run("nfs-cp /etc/hostname %s", url(f"/repository/{own_probe}-new"))
    assert seen.rc != 0, "the server took it"
    assert "ROFS" in seen.stderr, f"refused for another reason: {seen.stderr.strip()}"
    assert not host.file(f"/srv/vitrine/omero/{own_probe}-new").exists


def test_kernel_root(host, own_probe, client):
    """Root of a client is nobody on the kernel's read-write export."""
    other, url = client
    name = url(f"/omero/{own_probe}-new").split("?")[0] + "?version=4&uid=0&gid=0"
    assert other.run("nfs-cp /etc/hostname %s", name).rc != 0, "root wrote"
    assert not host.file(f"/srv/vitrine/omero/{own_probe}-new").exists


def test_kernel_closed(own_probe, client):
    """A host that an export of the kernel does not name cannot read it."""
    other, url = client
    seen = other.run("nfs-cat %s", url(f"/closed/{own_probe}"))
    assert seen.rc != 0, "it was read"
    assert "promise" not in seen.stdout


def test_service_above(host):
    """A service that needs the mount runs, and started after it."""
    service = host.service("reader")
    assert service.is_running
    assert service.is_enabled
