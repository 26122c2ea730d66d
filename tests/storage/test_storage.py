"""The data volume, and the exports as the hosts that use them see them."""

import uuid

import pytest
from conftest import check_mounts, names_of

testinfra_hosts = ["ansible://storage"]
# nfs-ganesha or the kernel's nfs-server, whichever it is.
pytestmark = pytest.mark.unit("nfs-[gs]*")


@pytest.fixture
def client(variables, reach):
    """Return the OMERO.server that writes, as the exports' client."""
    return reach(variables["groups"]["omero_readwrite"][0])


@pytest.fixture
def url(variables):
    """Return a function from a path to its libnfs URL, as OMERO's system user."""
    address, uid = variables["internal_address"], variables["omero_system_uid"]
    port = variables["network_services"]["nfs"]["port"]
    return lambda path: f"nfs://{address}{path}?version=4&nfsport={port}&uid={uid}&gid={uid}"


@pytest.fixture(params=["read_write", "read_only"])
def access(request):
    """Return each kind of access to an export in turn (str)."""
    return request.param


@pytest.fixture
def export(variables, access):
    """Return an export (dict) with this access for the OMERO.server that writes."""
    groups = variables["groups"]
    server = groups["omero_readwrite"][0]
    for each in variables["storage_exports"]:
        # Addresses are clients too.
        if each["access"] == access and any(server in groups.get(client, []) for client in each["clients"]):
            return each
    return pytest.skip(f"no export of storage_exports is {access} for {server}")


@pytest.fixture
def folder(variables, export):
    """Return the folder of the export."""
    return f"{variables['nfs_server_data_dir']}/{export['folder']}"


@pytest.fixture
def probe(host, variables, folder):
    """Put a small file into the exported folder, and take it away again."""
    # A new name each time: the server may remember what an older one was.
    name = f".vitrine-probe-{uuid.uuid4().hex}"
    path = f"{folder}/{name}"
    uid = variables["omero_system_uid"]
    host.run("echo promise > %s && chown %s:%s %s", path, str(uid), str(uid), path)
    yield name
    host.run("rm --force %s %s", path, path + "-new")


def test_no_portmapper(host, variables):
    """Version 4 alone needs one port: nobody listens where version 3's portmapper would."""
    if variables["nfs_server_v3"]:
        pytest.skip("the site serves version 3")
    assert host.check_output("ss --no-header --listening --tcp --udp --numeric 'sport = 111'") == ""


def test_starts_at_boot(host):
    """The NFS server runs, starts at boot, and starts on nothing but its own volume."""
    ganesha = names_of(host, "nfs_server")["ganesha_packages"][0]
    name = "nfs-ganesha" if host.package(ganesha).is_installed else "nfs-server"
    service = host.service(name)
    assert service.is_running
    assert service.is_enabled
    check_mounts(host, name)


def test_read(probe, client, url, export):
    """OMERO.server reads the {access} export."""
    seen = client.run("nfs-cat %s", url(f"{export['name']}/{probe}"))
    assert seen.stdout == "promise\n", f"nfs-cat: {seen.stderr.strip() or seen.stdout!r}"


@pytest.mark.parametrize("access", ["read_write"], indirect=True)
def test_write(host, probe, client, url, export, folder):
    """OMERO.server writes to the {access} export."""
    seen = client.run("nfs-cp /etc/hostname %s", url(f"{export['name']}/{probe}-new"))
    assert seen.rc == 0, seen.stderr.strip()
    written = host.file(f"{folder}/{probe}-new").content_string
    assert written == client.file("/etc/hostname").content_string


@pytest.mark.parametrize("access", ["read_only"], indirect=True)
def test_read_only(host, probe, client, url, export, folder):
    """A write to the {access} export is refused by the server."""
    seen = client.run("nfs-cp /etc/hostname %s", url(f"{export['name']}/{probe}-new"))
    assert seen.rc != 0, "the server took it"
    assert "ROFS" in seen.stderr, f"refused for another reason: {seen.stderr.strip()}"
    assert not host.file(f"{folder}/{probe}-new").exists


def test_other_accounts(probe, client, url, export):
    """Who is not root on OMERO.server's host gets nothing of the {access} export, with whatever user's number."""
    seen = client.run("runuser --user=nobody -- nfs-cat %s", url(f"{export['name']}/{probe}"))
    assert seen.rc != 0, "the server believed a port that anybody may use"
    assert "promise" not in seen.stdout


def test_other_hosts(variables, outside):
    """Hosts that the group model does not name do not reach the NFS server."""
    port = variables["network_services"]["nfs"]["port"]
    for other in outside(port):
        assert not other.reaches(port), f"{other.name} reached port {port}"
