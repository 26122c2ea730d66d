"""Serves one of the test cloud's OpenStack projects in this process: serve.py PROJECT TOP VENV ADDRESS.

Its API, and for nova and cinder also the services behind it: the messages between them are in this process' memory.
PROJECT may also be `router`, which has no API.
"""

import importlib
import os
import pathlib
import sys

from settings import HOSTS, SERVICES


class AnyHost(str):
    """Equals the name of every compute host, since nova assumes that a process is a single one."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        """Tell whether a name (other: str) is a compute host's."""
        return other in HOSTS


class Settings:
    """Nova's settings with a different host."""

    host = AnyHost()

    def __init__(self, original):
        """Store nova's own settings (original: oslo_config.cfg.ConfigOpts)."""
        self.original = original

    def __getattr__(self, name):
        """Return a setting (name: str)."""
        return getattr(self.original, name)


def nova():
    """Start conductor, scheduler and compute hosts of nova; returns what must be kept alive."""
    import nova.virt
    import os_vif
    from nova import service
    from nova.compute import rpcapi as compute
    from nova.conductor import rpcapi as conductor
    from nova.scheduler import rpcapi as scheduler
    from nova.virt import block_device

    # nova loads drivers, such as servers.py, only from this package.
    nova.virt.__path__.append(str(pathlib.Path(__file__).parent))
    # nova detaches a volume only if the server is on the process' own host.
    block_device.CONF = Settings(block_device.CONF)
    os_vif.initialize()
    wanted = [("nova-conductor", conductor.RPC_TOPIC, None, {}), ("nova-scheduler", scheduler.RPC_TOPIC, None, {})]
    wanted += [("nova-compute", compute.RPC_TOPIC, host, {"topic_alt": compute.RPC_TOPIC_ALT}) for host in HOSTS]
    return [started(service.Service.create(binary=n, topic=t, host=h, **further)) for n, t, h, further in wanted]


def cinder():
    """Start scheduler and volume service of cinder; returns what must be kept alive."""
    from cinder import service
    from oslo_config import cfg

    cfg.CONF.register_opt(cfg.StrOpt("backend_host"), group="files")
    return [
        started(service.Service.create(binary="cinder-scheduler")),
        started(
            service.Service.create(
                host=f"{HOSTS[0]}@files",
                service_name="files",
                binary="cinder-volume",
                coordination=False,
                cluster=None,
            )
        ),
    ]


def started(service):
    """Start a service and return it."""
    service.start()
    return service


def main(project, top, venv, address):
    """Serve a project (str) of the cloud in the folder top (str), with its settings, on address (str), for ever."""
    if project == "router":
        import router

        router.main(top, address.removesuffix(".0.2"))
    etc = f"{top}/etc/{project}"
    config = {"glance": "glance-api"}.get(project, project)
    sys.argv = [project]
    os.environ[f"OS_{project.upper()}_CONFIG_DIR"] = etc
    if project == "nova":
        os.environ["OS_NOVA_CONFIG_DIR"] = "/"
        os.environ["OS_NOVA_CONFIG_FILES"] = f"{venv}/etc/nova/api-paste.ini;{etc}/nova.conf"
        os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "true"
    elif project in ("neutron", "cinder"):
        sys.argv += ["--config-file", f"{etc}/{config}.conf"]
    if project == "cinder":
        from cinder import monkey_patch
        from psycogreen.eventlet import patch_psycopg

        monkey_patch.patch()
        # Otherwise a query that waits for a lock would block the one that holds the lock.
        patch_psycopg()
    entry = {"nova": "nova.wsgi.osapi_compute"}.get(project, f"{project}.wsgi.api")
    application = importlib.import_module(entry).application
    behind = {"nova": nova, "cinder": cinder}.get(project, list)()
    port = SERVICES[project]
    if project == "cinder":
        import eventlet
        import eventlet.wsgi

        eventlet.wsgi.server(eventlet.listen((address, port)), application)
    else:
        from werkzeug.serving import WSGIRequestHandler, run_simple

        WSGIRequestHandler.protocol_version = "HTTP/1.1"
        run_simple(address, port, application, threaded=True)
    del behind


if __name__ == "__main__":
    main(*sys.argv[1:])
