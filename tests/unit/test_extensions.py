"""What an inventory adds, without a copy of a default, in group variables and in templates of roles."""

import base64
import re
import shutil
import subprocess

import pytest
import yaml
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars

from plugins.filter import network, postgresql
from vitrine_cli.site import PROJECT, read_inventory

HOSTS = {
    "storage": {"store": 11},
    "database": {"db": 12},
    "omero_readwrite": {"one": 13},
    "omero_readonly": {"two": 14},
    "web": {"one": 13, "three": 15},
    "proxy": {"front": 16},
    "jupyterhub": {"hub": 17},
    "omero_client": {"one": 13},
}
GROUPS = {"hosts": ["db", "one", "two"], "omero": ["one", "two"], "jupyterhub": []}
ADDRESSES = {name: {"internal_address": f"192.168.1.{13 + number}"} for number, name in enumerate(["one", "two", "db"])}
FACTS = {
    "architecture": "x86_64",
    "os_family": "Debian",
    "memtotal_mb": 8192,
    "processor_vcpus": 4,
    "virtualization_tech_guest": [],
    "mounts": [{"mount": "/var/cache/nginx", "size_total": 10 * 1024**3}],
}
# What tasks and other roles give to the templates.
GIVEN = {"ansible_managed": "Ansible", "__nginx_cache_acme_given": False, "__jupyterhub_python": "python3.11"}
SECRETS = {
    "secrets_dir": "/dev/null",
    "database_password": "a",
    "database_readonly_password": "b",
    "database_monitor_password": "c",
    "web_sessions_password": "d",
    "omero_server_pkcs12_password": "e",
    "omero_root_password": "f",
    "omero_curator_password": "g",
    "omero_public_password": "h",
    "omero_web_secret_key": "i",
}


@pytest.fixture
def site(tmp_path):
    """Return a function from an inventory's variables (keywords) to a function from a host's name to its variables."""
    hosts = {
        group: {"hosts": {name: {"internal_address": f"192.168.1.{last}"} for name, last in members.items()}}
        for group, members in HOSTS.items()
    }

    def read(**given):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / "group_vars").mkdir(parents=True)
        (folder / "groups.yml").symlink_to(PROJECT / "groups.yml")
        (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump({**SECRETS, "site_selinux": False, **given}))
        inventory, manager, loader = read_inventory([str(folder)])
        all_hosts = HostVars(inventory, manager, loader)

        def of(host, *roles):
            variables = GIVEN | {"hostvars": all_hosts, "ansible_facts": FACTS}
            weaker, stronger = {}, {}
            for role in roles:
                for layer, names in ((weaker, ["defaults/main"]), (stronger, ["vars/Debian", "vars/main"])):
                    for path in (PROJECT / f"roles/{role}/{name}.yml" for name in names):
                        if path.exists():
                            layer |= loader.load_from_file(str(path), trusted_as_template=True) or {}
            variables = weaker | manager.get_vars(host=inventory.get_host(host)) | stronger | variables
            return Templar(loader=loader, variables=variables)

        return of

    return read


def value(templar, name):
    """Return a variable's value, as Ansible computes it for a host (templar: Templar)."""
    return templar.template(trust_as_template(f"{{{{ {name} }}}}"))


def rendered(templar, path):
    """Return the text that a role's template (path: str, below roles/) makes of a host's variables."""
    return templar.template(trust_as_template((PROJECT / "roles" / path).read_text()))


# The filters.


def test_clients_are_resolved():
    """Groups are their hosts, addresses stay, and what a network contains is left out: nftables may refuse it."""
    clients = ["omero", "jupyterhub", "10.1.0.0/16", "10.1.2.3", "192.168.9.9", "world"]
    assert network.client_hosts(clients, GROUPS) == ["one", "two"]
    wanted = ["10.1.0.0/16", "192.168.1.13", "192.168.1.14", "192.168.9.9"]
    assert network.client_addresses(clients, GROUPS, ADDRESSES) == wanted
    assert network.client_addresses(["hosts", "192.168.1.12/30"], GROUPS, ADDRESSES) == ["192.168.1.12/30"]
    assert network.client_addresses([], GROUPS, ADDRESSES) == []
    # The same address twice overlaps, too.
    assert network.client_addresses(["omero", "192.168.1.13/32"], GROUPS, ADDRESSES) == ["192.168.1.13", "192.168.1.14"]


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ("omero", None),
        ("world", None),
        ("192.168.1.9", None),
        ("192.168.1.0/24", None),
        ("999.1.1.1", "clients contains '999.1.1.1', expected an IPv4 address such as"),
        ("10.0.0.0/33", "clients contains '10.0.0.0/33', expected an IPv4 address such as"),
        ("10.0.0.1/24", "10.0.0.1/24 has host bits set"),
        ("10.0.0", "clients contains '10.0.0', expected an IPv4 address"),
        ("0.0.0.0/0", "expected world"),
        ("jupiterhub", "expected a group, world, or an IPv4 address or network (jupyterhub?)"),
        ("word", "(world?)"),
        ("monitoring", "clients contains 'monitoring', expected a group, world, or an IPv4 address or network"),
        ("fd00::1", "clients contains 'fd00::1', expected a group"),
    ],
)
def test_clients_that_are_none(client, words):
    """Addresses that cannot be, and unknown groups, are refused with what is expected and the nearest name."""
    problems = network.client_problems(["omero", client], GROUPS)
    assert len(problems) == (words is not None)
    assert words is None or words in problems[0]
    assert words is None or "?" in words or "?" not in problems[0]


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ({"port": 9100, "group": "hosts", "clients": ["10.0.0.0/8"]}, []),
        ({"port": "9100", "group": "hosts", "clients": []}, []),
        ({"port": 0, "group": "hosts", "clients": []}, ["port is '0', expected a number from 1 to 65535"]),
        (
            {"port": 70000, "group": "host", "clients": []},
            ["port is '70000'", "group is 'host', expected a group (hosts?)"],
        ),
        ({"clients": "omero"}, ["port is 'None'", "group is 'None'", "clients is 'omero', expected a list"]),
        ({"port": 1, "group": "omero"}, ["clients is 'None', expected a list"]),
        (9100, ["it is '9100', expected port, group and clients"]),
    ],
)
def test_services_that_are_none(service, words):
    """Every mistake of an entry is named at once."""
    problems = network.service_problems(service, GROUPS)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


# What the inventory adds.


def test_services_are_added(site):
    """A further service opens its port, and a further client of a service is one more; all others stay as they are."""
    extra = {
        "exporter": {"port": 9100, "group": "hosts", "clients": ["omero_client", "10.9.0.0/24"]},
        "postgresql": {"clients": ["10.9.1.7"]},
        "jupyterhub": {"clients": ["10.9.1.8", "10.9.2.0/24"]},
        "ssh": {"port": 2222},
    }
    plain, extended = (
        value(site(**given)("db"), "network_services") for given in ({}, {"network_services_extra": extra})
    )
    assert set(extended) == set(plain) | {"exporter"}
    assert extended["postgresql"] == plain["postgresql"] | {"clients": ["omero", "10.9.1.7"]}
    assert extended["ssh"] == plain["ssh"] | {"port": 2222}
    assert extended["nfs"] == plain["nfs"]
    of = site(network_services_extra=extra)
    services = value(of("db"), "firewall_services")
    assert services["exporter"] == {"port": 9100, "clients": ["10.9.0.0/24", "192.168.1.13"]}
    assert services["postgresql"] == {"port": 5432, "clients": ["10.9.1.7", "192.168.1.13", "192.168.1.14"]}
    assert services["ssh"] == {"port": 2222, "clients": ["world"]}
    # The host itself uses the loopback, which is open.
    assert value(of("one"), "firewall_services")["exporter"]["clients"] == ["10.9.0.0/24"]
    # An address has no certificate, and a hub trusts whole addresses.
    assert [client["name"] for client in value(of("db"), "postgresql_clients")] == ["one", "two"]
    assert value(of("hub"), "jupyterhub_trusted_proxies") == ["10.9.1.8", "192.168.1.16"]
    rules = rendered(of("db", "firewall"), "firewall/templates/nftables.conf.j2")
    assert 'ip saddr { 10.9.0.0/24, 192.168.1.13 } tcp dport 9100 accept comment "exporter"' in rules


def test_a_cloud_is_given_addresses_too(site):
    """Its security groups are those of the groups alone; an address is a rule in them."""
    services = {"ssh": {"port": 22, "group": "hosts", "clients": ["world", "web", "10.9.0.0/24", "10.9.1.7"]}}
    role = "provision_openstack"
    given = {"provision_openstack_prefix": "site", "provision_openstack_services": services, "item": "hosts"}
    templar = site(**given)("db", role)
    assert value(templar, "__provision_openstack_groups") == ["hosts", "web"]
    tasks = yaml.safe_load((PROJECT / f"roles/{role}/tasks/security_groups.yml").read_text())
    (rules,) = [task["vars"]["__provision_openstack_rules"] for task in tasks if "vars" in task]
    ports = {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    wanted = [{"remote_ip_prefix": "0.0.0.0/0"}, {"remote_group": "site-web"}]
    wanted += [{"remote_ip_prefix": address} for address in ("10.9.0.0/24", "10.9.1.7/32")]
    assert templar.template(trust_as_template(rules))[3:] == [rule | ports for rule in wanted]


def test_a_variable_still_replaces_everything(site):
    """As before: what an inventory sets itself is all that there is."""
    only = {"ssh": {"port": 22, "group": "hosts", "clients": ["world"]}}
    of = site(network_services=only, network_services_extra={"ssh": {"port": 1}}, site_sysctl={"vm.swappiness": 1})
    assert value(of("db"), "network_services") == only
    assert value(of("db"), "site_sysctl") == {"vm.swappiness": 1}


def test_exports_are_added(site):
    """A further export comes after the others, whose numbers clients know; a further client is one more."""
    archive = {"name": "/archive", "folder": "archive", "access": "read_only", "clients": ["10.9.1.7"]}
    more = [{"name": "/repository", "clients": clients} for clients in (["10.9.0.0/24"], ["omero"])]
    of = site(storage_exports_extra=[archive, *more])
    plain, exports = value(site()("store"), "nfs_server_exports"), value(of("store"), "nfs_server_exports")
    assert [export["name"] for export in exports] == ["/omero", "/repository", "/archive"]
    assert exports[0] == plain[0]
    assert exports[1] == plain[1] | {"clients": ["10.9.0.0/24", "192.168.1.13", "192.168.1.14"]}
    assert exports[2] == archive
    kernel = rendered(of("store", "nfs_server"), "nfs_server/templates/vitrine.exports.j2")
    assert re.search(r"/srv/nfs/repository 10[.]9[.]0[.]0/24\(ro,.*fsid=2\) 192[.]168", kernel)
    ganesha = rendered(of("store", "nfs_server"), "nfs_server/templates/ganesha.conf.j2")
    assert "Clients = 10.9.0.0/24, 192.168.1.13, 192.168.1.14;" in ganesha


def test_kernel_settings_are_added(site):
    """Others stay as they are."""
    plain = value(site()("db"), "kernel_settings_sysctl")
    extended = value(
        site(site_sysctl_extra={"vm.swappiness": 1, "net.core.rmem_max": 9})("db"), "kernel_settings_sysctl"
    )
    assert extended == plain | {"vm.swappiness": 1, "net.core.rmem_max": 9}
    assert plain["vm.swappiness"] != 1


def test_groups_and_users_of_omero_are_added(site):
    """Those that every site has stay."""
    guests, guest = (
        {"name": "guests", "permissions": "rwr---"},
        {"name": "guest", "password": "x", "groups": ["guests"]},
    )
    of = site(omero_server_groups_extra=[guests], omero_server_users_extra=[guest])
    assert [group["name"] for group in value(of("one"), "omero_server_groups")] == ["public", "gate", "guests"]
    assert [user["name"] for user in value(of("one"), "omero_server_users")] == ["curator", "public", "guest"]


def test_people_are_added(site):
    """Lists from two places are one."""
    key = "ssh-ed25519 AAAA somebody"
    of = site(
        jupyterhub_users=[{"name": "ada"}],
        jupyterhub_users_extra=[{"name": "bea", "admin": True}],
        admin_users_list=[{"name": "cleo", "keys": [key]}],
        admin_users_list_extra=[{"name": "dora", "keys": [key]}],
    )
    assert value(of("hub", "jupyterhub"), "__jupyterhub_logins") == ["ada", "bea", "gate-visitor", "gate-neighbour"]
    assert value(of("hub", "jupyterhub"), "__jupyterhub_admins") == ["bea"]
    assert [user["name"] for user in value(of("hub", "admin_users"), "__admin_users_all")] == ["cleo", "dora"]


def test_settings_of_omero_web_are_added(site):
    """A link comes after the role's own, and other settings stay."""
    link = ["Imprint", "https://example.org/imprint", {"title": "Imprint"}]
    name = "__omero_web_all_settings"
    plain = value(site()("three", "omero_web"), name)
    extra = {"omero.web.ui.top_links": [link], "omero.web.page_size": 500}
    extended = value(site(omero_web_config_extra=extra)("three", "omero_web"), name)
    links = "omero.web.ui.top_links"
    assert extended == plain | {links: [*plain[links], link], "omero.web.page_size": 500}
    assert len(plain[links]) > 1


def test_zones_are_added(site):
    """One time is changed, and a zone is added; nginx gets the others as they were."""
    search = {"share": 1, "answer_kib": 8, "valid": "10m", "pattern": "^/searchengine/"}
    changed = {"valid": "7d", "share": 49}
    plain = value(site()("front", "nginx_cache"), "nginx_cache_zones")
    templar = site(nginx_cache_zones_extra={"rendered": changed, "search": search})("front", "nginx_cache")
    wanted = plain | {"rendered": plain["rendered"] | changed, "search": search}
    assert value(templar, "nginx_cache_zones") == wanted
    conf = rendered(templar, "nginx_cache/templates/site.conf.j2")
    # For visitors, and to refresh the cache.
    assert conf.count("proxy_cache_valid 200 7d;") == conf.count('location ~ "^/searchengine/" {') == 2
    assert "keys_zone=search:" in rendered(templar, "nginx_cache/templates/cache.conf.j2")


def test_as_many_at_once_as_omero_web_has_processes(site):
    """The proxy's queue passes on to each OMERO.web what that takes at once, whether it is given or derived."""
    templar = site()("front", "nginx_cache")
    assert value(templar, "nginx_cache_workers") == {}, "no facts are known"
    assert value(templar, "__nginx_cache_workers") == {"one:8080": 3, "three:8080": 3}
    known = {name: {"ansible_facts": FACTS} for name in HOSTS["web"]}
    templar.available_variables = templar.available_variables | {"hostvars": known}
    derived = value(site()("three", "omero_web"), "__omero_web_workers")
    assert value(templar, "nginx_cache_workers") == {"one:8080": derived, "three:8080": derived}
    templar = site(omero_web_workers=5)("front", "nginx_cache")
    assert value(templar, "nginx_cache_workers") == {"one:8080": 5, "three:8080": 5}
    queue = rendered(templar, "nginx_cache/templates/queue.cfg.j2")
    assert queue.count(" maxconn 5\n") == queue.count(" maxconn 4\n") == 2


def test_without_limits(site):
    """Addresses without limits are neither counted nor refused by the queue, and all others are."""
    plain = rendered(site()("front", "nginx_cache"), "nginx_cache/templates/queue.cfg.j2")
    assert "unlimited" not in plain
    given = site(nginx_cache_unlimited=["192.168.1.0/24", "fd00::/64"])("front", "nginx_cache")
    queue = rendered(given, "nginx_cache/templates/queue.cfg.j2")
    assert "acl unlimited req.hdr_ip(X-Forwarded-For) 192.168.1.0/24 fd00::/64\n" in queue
    assert "ipmask(32,64) unless unlimited\n" in queue


def locations_of(conf):
    """Return the directives of each location of nginx's configuration (str), a dict of lists by the location's line."""
    return {
        head: body.split("\n")
        for head, body in re.findall(r"^    (location [^\n]*) \{\n(.*?)^    \}", conf, re.MULTILINE | re.DOTALL)
    }


def test_headers_are_added(site):
    """They replace OMERO.web's own, in zones and elsewhere; JupyterHub's stay as they are."""
    headers = {"X-Frame-Options": "DENY", "Permissions-Policy": "camera=()"}
    templar = site(nginx_cache_headers_extra=headers)("front", "nginx_cache")
    answers = rendered(templar, "nginx_cache/templates/answers.conf.j2")
    assert 'add_header X-Frame-Options "DENY" always;\n' in answers
    assert 'add_header Permissions-Policy "camera=()" always;\n' in answers
    # Visitors' part, without the one that refreshes the cache.
    conf = rendered(templar, "nginx_cache/templates/site.conf.j2").partition("# For operators")[0]
    zone = next(body for head, body in locations_of(conf).items() if "/static/" in head)
    hidden = [line.strip() for line in zone if "proxy_hide_header" in line]
    # nginx hides nothing of the level above in a location that hides something itself.
    own = ["Set-Cookie", "X-Content-Type-Options", "Referrer-Policy"]
    wanted = [*own, "Permissions-Policy", "X-Frame-Options", "X-Vitrine-Unusable", "X-Vitrine-Upstream"]
    assert hidden == [f"proxy_hide_header {name};" for name in wanted]
    hub = locations_of(conf)["location /jupyter/"]
    assert [line.strip() for line in hub if "hide_header" in line] == [
        "proxy_hide_header X-Content-Type-Options;",
        "proxy_hide_header Referrer-Policy;",
    ]
    # Of the server, for all other locations.
    assert "\n    proxy_hide_header X-Frame-Options;\n" in conf


def test_what_notebooks_send_is_filtered(site):
    """nginx asks the script about each answer of the hub, obeys none of its orders, and gives it its own cookies."""
    templar = site(nginx_cache_jupyterhub_headers_extra=["X-Dashboard"])("front", "nginx_cache")
    hub = [
        line.strip()
        for line in locations_of(rendered(templar, "nginx_cache/templates/site.conf.j2"))["location /jupyter/"]
    ]
    assert "js_header_filter hub_answers.filter;" in hub
    assert 'set $hub_headers_extra "x-dashboard";' in hub
    assert "proxy_set_header Cookie $hub_cookies;" in hub
    assert "if ($http_service_worker) {" in hub
    ignored = next(line for line in hub if line.startswith("proxy_ignore_headers ")).rstrip(";").split()[1:]
    orders = {"Redirect", "Expires", "Limit-Rate", "Buffering", "Charset"}
    assert {f"X-Accel-{order}" for order in orders} | {"Set-Cookie", "Vary", "Expires", "Cache-Control"} == set(ignored)


def test_cookies_of_the_hub_are_for_tls(site):
    """The hub and the users' servers set secure cookies, although the hub's proxy claims that there was no TLS."""
    templar = site()("hub", "jupyterhub")
    config = rendered(templar, "jupyterhub/templates/jupyterhub_config.py.j2")
    assert 'c.JupyterHub.tornado_settings = {"cookie_options": {"secure": True}}' in config
    # The hub counts wrong passwords by the address that this proxy adds (login_limits.py).
    assert "--no-x-forward" not in rendered(templar, "jupyterhub/templates/jupyterhub-proxy.service.j2")


# TLS.

LISTENERS = {
    "proxy's versions": ("front", "nginx_cache", "templates/site.conf.j2", r"ssl_protocols (.*);"),
    "proxy's ciphers": ("front", "nginx_cache", "templates/cache.conf.j2", r"^ssl_ciphers (.*);"),
    "database's oldest version": (
        "db",
        "postgresql",
        "templates/vitrine.conf.j2",
        r"ssl_min_protocol_version = '(.*)'",
    ),
    "database's newest version": (
        "db",
        "postgresql",
        "templates/vitrine.conf.j2",
        r"ssl_max_protocol_version = '(.*)'",
    ),
    "database's ciphers": ("db", "postgresql", "templates/vitrine.conf.j2", r"ssl_ciphers = '(.*)'"),
    "store's versions": ("one", "session_store", "templates/web-sessions.conf.j2", r"tls-protocols (.*)"),
    "store's ciphers": ("one", "session_store", "templates/web-sessions.conf.j2", r"tls-ciphers (.*)"),
    "store's clients": ("three", "session_store", "templates/haproxy.cfg.j2", r"(ssl-min-ver .*) check inter"),
    "server's versions": ("one", "omero_server", "templates/vitrine.omero.j2", r"IceSSL.Protocols (.*)"),
    "server's newest version": ("one", "omero_server", "templates/vitrine.omero.j2", r"IceSSL.ProtocolVersionMax (.*)"),
    "server's ciphers": ("one", "omero_server", "templates/vitrine.omero.j2", r"IceSSL.Ciphers (.*)"),
}
# By default, what each had before there was a setting for all; then TLS 1.2 alone with ciphers of the site's choice.
DEFAULT = {
    "proxy's versions": {"TLSv1.2 TLSv1.3"},
    "proxy's ciphers": {"ECDHE+AESGCM:ECDHE+CHACHA20"},
    "database's oldest version": {"TLSv1.2"},
    "database's newest version": set(),
    "database's ciphers": set(),
    "store's versions": {'"TLSv1.2 TLSv1.3"'},
    "store's ciphers": set(),
    "store's clients": {"ssl-min-ver TLSv1.2"},
    "server's versions": {"TLS1_2,TLS1_3"},
    "server's newest version": {"TLS1_3"},
    "server's ciphers": {"'HIGH:!ADH:!AECDH'"},
}
CHOSEN = {
    "proxy's versions": {"TLSv1.2"},
    "proxy's ciphers": {"ECDHE+AESGCM"},
    "database's oldest version": {"TLSv1.2"},
    "database's newest version": {"TLSv1.2"},
    "database's ciphers": {"ECDHE+AESGCM"},
    "store's versions": {'"TLSv1.2"'},
    "store's ciphers": {"ECDHE+AESGCM"},
    "store's clients": {"ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2 ciphers ECDHE+AESGCM"},
    "server's versions": {"TLS1_2"},
    "server's newest version": {"TLS1_2"},
    "server's ciphers": {"ECDHE+AESGCM"},
}


@pytest.mark.parametrize("listener", list(LISTENERS))
def test_tls_of_every_listener(site, listener):
    """Two variables say it for all; without them, each listener has what it had."""
    host, role, template, pattern = LISTENERS[listener]
    given = {"site_tls_protocols": ["TLSv1.2"], "site_tls_ciphers": "ECDHE+AESGCM"}
    for wanted, values in ((DEFAULT, {}), (CHOSEN, given)):
        text = rendered(site(**values)(host, role), f"{role}/{template}")
        assert set(re.findall(pattern, text, re.MULTILINE)) == wanted[listener]


def test_the_newest_version_alone(site):
    """It is the oldest too."""
    of = site(site_tls_protocols=["TLSv1.3"])
    assert "ssl_min_protocol_version = 'TLSv1.3'" in rendered(
        of("db", "postgresql"), "postgresql/templates/vitrine.conf.j2"
    )
    assert value(of("three", "session_store"), "__session_store_tls") == "ssl-min-ver TLSv1.3"


# Clients of the database, and units.


def test_clients_of_the_database_are_added(site):
    """A client that is no host of the site reads, with a certificate of its own; there are connections for it."""
    extra = [{"address": "10.9.1.7", "certificate": "/a.pem"}, {"address": "10.9.0.0/24", "certificate": "/b.pem"}]
    plain, extended = (site(**given)("db", "postgresql") for given in ({}, {"postgresql_clients_extra": extra}))
    rules = rendered(extended, "postgresql/templates/pg_hba.conf.j2")
    added = set(rules.splitlines()) - set(rendered(plain, "postgresql/templates/pg_hba.conf.j2").splitlines())
    assert {rule for rule in added if not rule.startswith("#")} == {
        f"hostssl  omero  omero_readonly  {address}  scram-sha-256 clientcert=verify-ca"
        for address in ("10.9.1.7/32", "10.9.0.0/24")
    }
    assert value(extended, "postgresql_max_connections") == value(plain, "postgresql_max_connections") + 2 * 25


def test_certificates_of_clients_are_trusted(site, tmp_path):
    """Those read from the hosts, and those from the controller, each from the beginning of a line."""
    for name in "ab":
        (tmp_path / f"{name}.pem").write_text(f"-----{name}-----\n")
    extra = [{"address": "10.9.1.7", "certificate": str(tmp_path / f"{name}.pem")} for name in "ab"]
    tasks = yaml.safe_load((PROJECT / "roles/postgresql/tasks/certificate.yml").read_text())
    task = tasks[-1]
    read = {"results": [{"content": "LS0tLS1vLS0tLS0K"}]}
    own = {name: trust_as_template(text) for name, text in task["vars"].items()}
    for given, wanted in ((extra, "-----o-----\n-----a-----\n-----b-----\n"), ([], "-----o-----\n")):
        templar = site(postgresql_clients_extra=given)("db", "postgresql")
        templar.available_variables |= own | {"__postgresql_client_certificates": read}
        assert templar.template(trust_as_template(task["ansible.builtin.copy"]["content"])) == wanted


@pytest.mark.parametrize(
    ("role", "name", "unit"),
    [
        ("omero_server", "one", "omero-server.service.j2"),
        ("omero_web", "three", "omero-web.service.j2"),
        ("jupyterhub", "hub", "jupyterhub.service.j2"),
    ],
)
def test_units_are_extended(site, role, name, unit):
    """Settings of the site are the last of their section, and so the strongest; without them the unit is as it was."""
    given = {f"{role}_service_settings": {"LimitNOFILE": 99999, "Environment": ["A=1", "B=2"]}}
    plain, extended = (rendered(site(**values)(name, role), f"{role}/templates/{unit}") for values in ({}, given))
    section = extended.partition("[Service]")[2].partition("[Install]")[0].rstrip()
    added = "\nEnvironment=A=1\nEnvironment=B=2\nLimitNOFILE=99999"
    assert section.endswith(added)
    assert extended.replace(added, "") == plain


@pytest.mark.parametrize(("role", "file"), [("nginx_cache", "install"), ("postgresql", "configure")])
def test_drop_ins_are_written(site, role, file):
    """nginx and PostgreSQL have units of their packages, with the settings in a file beside."""
    tasks = yaml.safe_load((PROJECT / f"roles/{role}/tasks/{file}.yml").read_text())
    contents = [
        copy["content"]
        for task in tasks
        if "[Service]" in (copy := task.get("ansible.builtin.copy", {})).get("content", "")
    ]
    assert len(contents) == 1
    templar = site(**{f"{role}_service_settings": {"LimitNOFILE": 99999}})("front", role)
    assert templar.template(trust_as_template(contents[0])).endswith("\nLimitNOFILE=99999\n")


def test_a_drop_in_is_removed():
    """The file goes when the variable becomes empty, and PostgreSQL restarts."""
    tasks = yaml.safe_load((PROJECT / "roles/postgresql/tasks/configure.yml").read_text())
    (removed,) = [task for task in tasks if task.get("ansible.builtin.file", {}).get("state") == "absent"]
    assert removed["when"] == "postgresql_service_settings | length == 0"
    assert removed["notify"] == "Restart PostgreSQL"


# Least privilege.


def statements(text):
    """Return what an nftables file (str) says (list of str): no comments, spaces of any width as one."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_internal_ports(site):
    """An account that is neither root nor the server's own connects to the ports for clients, and to no other."""
    given = {"omero_system_uid": 5000, "network_services_extra": {"omero": {"port": 5064}}}
    lines = statements(rendered(site(**given)("one", "omero_server"), "omero_server/templates/omero-server.nft.j2"))
    assert "meta skuid { 0, 5000 } ct state new ct mark set ct mark | 0x00100000 accept" in lines
    assert lines[-3] == (
        "meta skuid 5000 tcp flags & (syn | ack) == syn | ack tcp sport != { 5064 } ct mark & 0x00100000 == 0 drop"
    )


def test_websockets_stay_open(site):
    """The port of websockets is for clients, too, if there is one."""
    lines = statements(
        rendered(site(site_public_ice=True)("two", "omero_server"), "omero_server/templates/omero-server.nft.j2")
    )
    assert any("tcp sport != { 4064, 4066 } " in line for line in lines), lines


def test_rules_before_the_server(site):
    """The server does not start without these rules, whoever has removed them since."""
    unit = rendered(site()("one", "omero_server"), "omero_server/templates/omero-server.service.j2")
    first = re.search(r"(?m)^ExecStartPre=.*$", unit)[0]
    assert first == "ExecStartPre=+/usr/sbin/nft --file /etc/vitrine/nftables.d/omero-server.nft"


def test_privileged_ports(site):
    """Both NFS servers believe a user's number only if root of a client sends it."""
    templar = site()("store", "nfs_server")
    defaults = re.search(r"EXPORT_DEFAULTS {(.*?)}", rendered(templar, "nfs_server/templates/ganesha.conf.j2"), re.S)[1]
    assert re.search(r"(?m)^ *PrivilegedPort = true;$", defaults)
    exports = rendered(templar, "nfs_server/templates/vitrine.exports.j2")
    assert exports.count("(r") == exports.count(",secure,") > 0


def test_web_sees_nothing_of_the_server(site):
    """On one host, OMERO.web sees neither OMERO.server's folders nor the repository nor the database's secrets."""
    given = {
        "omero_server_dir": "/opt/other/server",
        "omero_server_data_dir": "/data/omero",
        "database_client_dir": "/etc/db",
    }
    unit = rendered(site(**given)("one", "omero_web"), "omero_web/templates/omero-web.service.j2")
    hidden = set(re.findall(r"(?m)^InaccessiblePaths=-(\S+)$", unit))
    assert {"/opt/other/server", "/data/omero", "/etc/db"} <= hidden


@pytest.mark.parametrize(
    ("password", "salt", "made"),
    [
        (
            "Passw0rd for a test",
            "PsvdgiDEoE55znQJ9M2ZBQ==",
            "VvmbUObqJGz7ryFDNnzN7Hd9DYQpMr5wHAQH0x8blkk=:MXXih1WnNdnA8RX7DBwu9VI/Mo9Yq/x9gOPs6IJL7T4=",
        ),
        (
            "p\u00e4ssw\u00aard\u00a0x\u00ad",
            "IrjWGKphOTgRp3owjDf74Q==",
            "uNdPz7j42SxdI3/07hECbpoGllUHx55Ca4G0ljgPLKA=:0+4+yVmXZeRvCWlTJsEdKOZIpJsroNbK7my0w4dHA7c=",
        ),
        (
            "tab\there",
            "oHjHXzfvMXlwpi5ufEg98Q==",
            "K8dCoHDp4NCJe80Bjc0ppDfUSAPgk3NwvoM3cPl3Iao=:VVam5CoMKfZuAnNKw8y0JpYrWlt6vad1pHDBbVDWFMk=",
        ),
    ],
)
def test_scram_verifier(password, salt, made):
    """It is the one that PostgreSQL 15 made: of ASCII, of what has to be prepared, and of what cannot be."""
    assert postgresql.verifier(password, base64.b64decode(salt)) == f"SCRAM-SHA-256$4096:{salt}${made}"


def test_verifiers_are_sent(site):
    """PostgreSQL is sent verifiers, each with a salt of its own, in statements that are recorded nowhere."""
    tasks = []
    for path in (PROJECT / "roles/postgresql/tasks").glob("*.yml"):
        for task in yaml.safe_load(path.read_text()):
            tasks += [each for each in [task, *task.get("block", [])] if "community.postgresql.postgresql_user" in each]
    assert len(tasks) == 2
    for task in tasks:
        assert task["no_log"] is True
        assert task["environment"] == {"PGOPTIONS": "{{ __postgresql_unrecorded }}"}
        assert task["community.postgresql.postgresql_user"]["password"].startswith("{{ __postgresql_verifiers[")
    templar = site(postgresql_salt="s")("db", "postgresql")
    options = value(templar, "__postgresql_unrecorded")
    for wanted in ("pg_stat_statements.track=none", "log_statement=none", "log_min_error_statement=panic"):
        assert f"-c {wanted}" in options
    verifiers = value(templar, "__postgresql_verifiers")
    assert verifiers == {
        name: postgresql.scram_sha_256(password, f"s{name}")
        for name, password in (("omero", "a"), ("omero_readonly", "b"), ("monitor", "c"))
    }
    assert len({each.split("$")[1] for each in verifiers.values()}) == 3


def test_time_limit(site):
    """A statement of the read-only user ends even if the user has lifted its own limit."""
    unit = rendered(
        site(postgresql_readonly_timeout=7)("db", "postgresql"),
        "postgresql/templates/vitrine-database-limit.service.j2",
    )
    assert "select pg_terminate_backend(pid)" in unit
    assert "('omero_readonly', 7), ('monitor', 15)" in unit


@pytest.mark.parametrize(
    ("name", "role", "template"),
    [
        ("one", "omero_server", "omero-server.service.j2"),
        ("one", "omero_web", "omero-web.service.j2"),
        ("store", "nfs_server", "sandbox.conf.j2"),
        ("db", "postgresql", "confine.conf.j2"),
        ("db", "postgresql", "vitrine-database-limit.service.j2"),
    ],
)
def test_exposure(site, tmp_path, name, role, template):
    """systemd's own measure of the unit of {role} is 3.0 or less."""
    text = rendered(site()(name, role), f"{role}/templates/{template}")
    if "ExecStart=" not in text:
        text = text.replace("[Service]", "[Service]\nExecStart=/bin/true", 1)
    unit = tmp_path / "vitrine-test.service"
    unit.write_text(text)
    program = shutil.which("systemd-analyze") or pytest.skip("there is no systemd-analyze")
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=30", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, "\n".join(
        line for line in done.stdout.splitlines() if line.startswith(("\u2717", "\u2192"))
    )
