#!/usr/bin/python3
"""Measures the performance of the proxy's configuration, on its own host beside the site. Does not touch its cache.

usage: proxy.py PART KEYS      PART: thumbnails, tiles, latency, one key, back end killed, large

Three more nginx run for the time on loopback, with the site's certificate: one with the site's own configuration (other
ports, an empty cache beside the site's, and without the queue in front of OMERO.web), one that serves the
same answers as files (the reference), and one with a proxy_cache and no other directive than it needs. KEYS answers are
made for the measurements of a large cache. What was seen is printed as JSON.
"""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import pathlib
import re
import shutil
import signal
import ssl
import statistics
import struct
import subprocess
import sys
import time
import urllib.parse
import zlib

ADDRESS = "127.0.0.1"
PORTS = {"site": 19443, "files": 19444, "plain": 19445}
BACK_END = 19080
ROUNDS, SECONDS = 5, 3
CONNECTIONS = (10, 100, 1000)
PATHS = 300
# Bytes of a thumbnail and of a tile.
SIZES = {"thumbnails": (2_000, 6_000), "tiles": (15_000, 60_000)}
# Offset of the key's crc32 in the header of nginx's cache files.
CRC_AT = 48


def main(arguments):
    """Measure a part and print the result as JSON; returns the exit status."""
    part, keys = arguments[0], int(arguments[1])
    settings = json.loads(pathlib.Path("/etc/vitrine/cache.json").read_text())
    folder = pathlib.Path(settings["folder"]).parent / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        site = Site(folder, settings, stack)
        measure = {"latency": latencies, "one key": one_key, "back end killed": killed}
        if part in SIZES:
            seen = throughput(site, part, site.fill(part, *SIZES[part]))
        elif part == "large":
            seen = large(site, keys)
        else:
            seen = measure[part](site)
    print(json.dumps(seen))
    return 0


class Site:
    """The nginx of the measurement.

    Args:
        folder: pathlib.Path, on the cache's volume.
        settings: dict, of vitrine-cache.
        stack: contextlib.ExitStack, which ends what is started.
    """

    def __init__(self, folder, settings, stack):
        """Write the configurations and start all of them."""
        self.folder, self.stack, self.host = folder, stack, settings["host"]
        self.files = folder / "files"
        self.files.mkdir()
        self.running = {}
        written = pathlib.Path("/etc/nginx/conf.d/15-misses.conf").read_text()
        self.web = re.findall(r"upstream omero_web_\d+ \{\s*server (\S+)", written)
        site = pathlib.Path("/etc/nginx/conf.d/20-site.conf").read_text()
        self.certificate = re.search(r"ssl_certificate (\S+);", site)[1]
        self.key = re.search(r"ssl_certificate_key (\S+);", site)[1]
        self.zones = folder / "zones"
        self.start(
            "back", f"server {{ listen {ADDRESS}:{BACK_END}; location / {{ proxy_pass http://{self.web[0]}; }} }}"
        )
        self.start("site", self.own_configuration())
        tls = f"listen {ADDRESS}:PORT ssl http2; ssl_certificate {self.certificate}; ssl_certificate_key {self.key};"
        self.start("files", f"server {{ {tls.replace('PORT', str(PORTS['files']))} root {self.files}; }}")
        plain = (
            f"proxy_cache_path {folder}/plain keys_zone=plain:10m; server {{ {tls.replace('PORT', str(PORTS['plain']))}"
            f" location / {{ proxy_pass http://{ADDRESS}:{BACK_END}; proxy_cache plain; proxy_cache_valid 200 1h;"
            f" proxy_set_header Host {self.host}; proxy_ignore_headers Set-Cookie Vary; }} }}"
        )
        self.start("plain", plain)

    def own_configuration(self):
        """Return the site's own configuration with other ports, another cache, and no queue."""
        text = "".join(path.read_text() for path in sorted(pathlib.Path("/etc/nginx/conf.d").glob("*.conf")))
        text = re.sub(r"proxy_cache_path \S+/zones/", f"proxy_cache_path {self.zones}/", text)
        text = text.replace("listen 443 ssl", f"listen {ADDRESS}:{PORTS['site']} ssl")
        text = text.replace("listen 80 default_server", f"listen {ADDRESS}:19081 default_server")
        text = re.sub(
            r"upstream misses \{.*?\n\}",
            "upstream misses { server 127.0.0.1:9010; keepalive 64; }",
            text,
            flags=re.S,
        )
        text = re.sub(r"127\.0\.0\.1:(90[0-9]{2})\b", r"127.0.0.1:1\1", text)
        # A single back end, which can be stopped.
        text = re.sub(
            r"upstream (omero_web_\d+) \{.*?\n\}",
            rf"upstream \1 {{ server {ADDRESS}:{BACK_END}; keepalive 32; }}",
            text,
            flags=re.S,
        )
        text = text.replace("/var/log/nginx/access.log", f"{self.folder}/access.log").replace(
            "/var/log/nginx/refresh.log", f"{self.folder}/refresh.log"
        )
        self.zones.mkdir(exist_ok=True)
        shutil.chown(self.zones, "www-data")
        return text

    def start(self, name, http_block):
        """Start an nginx with a configuration for its http block (str), and register it under a name."""
        path = self.folder / f"{name}.conf"
        log = "access_log off;" if name != "site" else ""
        path.write_text(
            "user www-data; worker_processes auto; worker_rlimit_nofile 16384;"
            f" pid {self.folder}/{name}.pid; error_log {self.folder}/{name}.error; pcre_jit on;\n"
            "include /etc/nginx/modules-enabled/*http*.conf;\nevents { worker_connections 4096; }\n"
            f"http {{ include /etc/nginx/mime.types; sendfile on; tcp_nopush on; {log}\n{http_block}\n}}\n"
        )
        process = subprocess.Popen(["nginx", "-c", str(path), "-g", "daemon off;"])
        self.stack.callback(stop, process)
        self.running[name] = process
        wait_for(lambda: process.poll() is not None or (self.folder / f"{name}.pid").exists())
        if process.poll() is not None:
            sys.exit(f"nginx for {name} did not start: {(self.folder / f'{name}.error').read_text()}")

    def fill(self, kind, least, most):
        """Keep answers of OMERO.web's own static files of a size everywhere; returns their paths.

        Args:
            kind: str, a name for them.
            least: int, bytes.
            most: int, bytes.
        """
        found = []
        for name in static_files(self.ask):
            body = self.ask("site", name, must=False)
            if least <= len(body) <= most:
                found.append((name, body))
            if len(found) == 20:
                break
        if not found:
            sys.exit(f"OMERO.web has no static file of {least} to {most} bytes")
        paths = []
        for number in range(PATHS):
            name, body = found[number % len(found)]
            path = f"{name}?{kind}={number}"
            for server in ("site", "plain"):
                for _ in range(2):
                    self.ask(server, path)
            target = self.files / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
            if self.ask("files", path) != body:
                sys.exit(f"the reference gives a different answer for {path}")
            paths.append(path)
        return paths

    def connect(self, server):
        """Return a connection to one of the nginx."""
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(ADDRESS, PORTS[server], timeout=60, context=context)

    def ask(self, server, path, must=True):
        """Return the body of an answer; exits on another status than 200, if the answer is required (must: bool)."""
        connection = self.connect(server)
        connection.request("GET", path, headers={"Host": self.host})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200 and must:
            sys.exit(f"{server} answers {path} with status {answer.status}")
        return body if answer.status == 200 else b""


def static_files(ask):
    """Yield the addresses of static files linked from OMERO.web's first page, and of those linked from these files."""
    page = ask("site", "/webclient/?experimenter=-1").decode("utf-8", "replace")
    seen = set()
    for name in re.findall(r'(?:src|href)="(/static/[^"?]+\.(?:js|css|png|svg|gif))', page):
        if name not in seen:
            seen.add(name)
            yield name
    for sheet in [name for name in seen if name.endswith(".css")]:
        for name in re.findall(
            r'url\(["\']?([^"\')]+\.(?:png|svg|gif))', ask("site", sheet, must=False).decode("utf-8", "replace")
        ):
            name = urllib.parse.urljoin(sheet, name)
            if name not in seen and name.startswith("/static/"):
                seen.add(name)
                yield name


def stop(process):
    """Stop an nginx that was started here, by its process."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_for(condition, seconds=60):
    """Wait until a condition (function) holds; exits if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"timed out after {seconds} s")
        time.sleep(0.05)


def wrk(site, server, paths, connections, seconds=SECONDS):
    """Put load on one of the nginx; returns a dict with requests per second, p50 and p99 in ms, and failed requests."""
    script = site.folder / "paths.lua"
    script.write_text(
        f"local paths = {{{', '.join(json.dumps(path) for path in paths)}}}\nlocal n = 0\n"
        f'wrk.headers["Host"] = "{site.host}"\n'
        "request = function() n = n % #paths + 1; return wrk.format('GET', paths[n]) end\n"
        "done = function(summary, latency, requests)\n"
        "  local e = summary.errors\n"
        "  io.write(string.format('RESULT %.1f %.3f %.3f %d\\n', summary.requests / summary.duration * 1e6,\n"
        "    latency:percentile(50) / 1000, latency:percentile(99) / 1000,\n"
        "    e.connect + e.read + e.write + e.status + e.timeout))\nend\n"
    )
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            str(script),
            f"https://{ADDRESS}:{PORTS[server]}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rate, middle, slow, failed = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+)", done.stdout).groups()
    return {"per_second": float(rate), "p50_ms": float(middle), "p99_ms": float(slow), "failed": int(failed)}


def throughput(site, kind, paths):
    """Return the median requests per second of each nginx for some paths, and the ratios; rounds alternate."""
    seen = {server: [] for server in PORTS}
    for _ in range(ROUNDS):
        for server, rates in seen.items():
            result = wrk(site, server, paths, 100)
            if result["failed"]:
                sys.exit(f"{server}: {result['failed']} requests failed")
            rates.append(result["per_second"])
    middle = {server: statistics.median(rates) for server, rates in seen.items()}
    size = sum(len(site.ask("files", path)) for path in paths) / len(paths)
    return {
        "bytes": round(size),
        "per_second": {server: round(rate) for server, rate in middle.items()},
        "of_files": round(middle["site"] / middle["files"], 3),
        "of_plain": round(middle["site"] / middle["plain"], 3),
        "rounds": seen,
    }


def latencies(site):
    """Return p50 and p99 of cached thumbnails for several numbers of connections, as medians of the rounds."""
    paths = site.fill("thumbnails", *SIZES["thumbnails"])
    found = {}
    for connections in CONNECTIONS:
        results = [wrk(site, "site", paths, connections, 2) for _ in range(ROUNDS)]
        found[connections] = {
            name: round(statistics.median(result[name] for result in results), 2)
            for name in ("p50_ms", "p99_ms", "failed")
        }
    return found


def one_key(site):
    """Send a thousand requests at once for an uncached answer; returns the back end's requests and the seconds."""
    counts, seconds = [], []
    for number in range(ROUNDS):
        path = f"/api/v0/m/projects/?bench={number}-{time.time()}"
        connections = [site.connect("site") for _ in range(1000)]
        with concurrent.futures.ThreadPoolExecutor(1000) as pool:
            list(pool.map(lambda connection: connection.connect(), connections))
            begun = time.monotonic()
            statuses = list(pool.map(ask_on, connections, [path] * 1000, [site.host] * 1000))
            seconds.append(time.monotonic() - begun)
        for connection in connections:
            connection.close()
        if set(statuses) != {200}:
            sys.exit(f"one key: statuses {sorted(set(statuses))}")
        time.sleep(2)  # the log is written once a second
        lines = [line for line in (site.folder / "access.log").read_text().splitlines() if path in line]
        counts.append(sum(1 for line in lines if not line.endswith('"-" - - HIT')))
    return {"reached_back_end": counts, "seconds": round(statistics.median(seconds), 2)}


def ask_on(connection, path, host):
    """Send a request on an open connection; returns the status."""
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def killed(site):
    """Kill the back end under a load of cached answers; returns requests per second and failed requests."""
    paths = site.fill("thumbnails", *SIZES["thumbnails"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(wrk, site, "site", paths, 100, 6)
        time.sleep(2)
        stop(site.running["back"])
        result = running.result()
    site.start("back", f"server {{ listen {ADDRESS}:{BACK_END}; location / {{ proxy_pass http://{site.web[0]}; }} }}")
    return {"per_second": round(result["per_second"]), "failed": result["failed"]}


def large(site, keys):
    """Measure a cache with many keys: loading at a start, memory, disk, purging."""
    path = f"/api/v0/m/projects/?large={0:08d}"
    site.ask("site", path)
    key = path
    zone = site.zones / "api"
    pattern = file_of(zone, key).read_bytes()
    # Enough memory for all keys; the role computes it from the volume.
    stop(site.running["site"])
    begun = time.monotonic()
    for number in range(1, keys):
        other = f"/api/v0/m/projects/?large={number:08d}"
        target = file_of(zone, other)
        target.parent.mkdir(parents=True, exist_ok=True)
        crc = struct.pack("<I", zlib.crc32(other.encode()))
        target.write_bytes((pattern[:CRC_AT] + crc + pattern[CRC_AT + 4 :]).replace(key.encode(), other.encode()))
    made = time.monotonic() - begun
    subprocess.run(["chown", "--recursive", "www-data", str(site.zones)], check=True)
    disk = int(
        subprocess.run(
            ["du", "--summarize", "--block-size=1", str(zone)], capture_output=True, text=True, check=True
        ).stdout.split()[0]
    )
    text = site.own_configuration()
    text = re.sub(r"keys_zone=api:\S+ max_size=\S+", f"keys_zone=api:{keys // 8000 + 1}m max_size=100g", text)
    before = shared_memory()
    begun = time.monotonic()
    site.start("site", text)
    site.ask("site", f"/api/v0/m/projects/?large={keys // 2:08d}")
    first = time.monotonic() - begun
    stop(site.running["back"])  # from now on, all answers come from the cache
    for number in range(0, keys, max(1, keys // 100)):
        site.ask("site", f"/api/v0/m/projects/?large={number:08d}")
    wait_for(lambda: loader_of(site.running["site"].pid), 90)
    wait_for(lambda: not loader_of(site.running["site"].pid), 1800)
    known = time.monotonic() - begun
    memory = shared_memory() - before
    begun = time.monotonic()
    sample = subprocess.run(
        ["python3", "-c", PURGE, str(site.zones), f"/api/v0/m/projects/?large={'0' * 4}"],
        capture_output=True,
        text=True,
        check=True,
    )
    looked = time.monotonic() - begun
    return {
        "keys": keys,
        "made_seconds": round(made, 1),
        "disk_bytes_a_key": round(disk / keys),
        "first_answer_seconds": round(first, 2),
        "all_known_seconds": round(known, 1),
        "shared_memory_mib": round(memory / 2**20, 1),
        "purge_seconds": round(looked, 1),
        "purged": json.loads(sample.stdout.splitlines()[-1])["chosen"],
    }


# Runs vitrine-cache with the zones of the measurement.
PURGE = """
import importlib.machinery, importlib.util, json, pathlib, sys, tempfile
loader = importlib.machinery.SourceFileLoader("vitrine_cache", "/usr/local/sbin/vitrine-cache")
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("vitrine_cache", loader))
sys.dont_write_bytecode = True
loader.exec_module(tool)
settings = json.loads(pathlib.Path(tool.SETTINGS).read_text()) | {"folder": sys.argv[1]}
with tempfile.NamedTemporaryFile("w") as file:
    file.write(json.dumps(settings))
    file.flush()
    tool.SETTINGS = file.name
    sys.exit(tool.main(["purge", "--prefix", sys.argv[2]]))
"""


def file_of(zone, key):
    """Return the file in which nginx caches a key of a zone."""
    name = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return zone / name[-1] / name[-3:-1] / name


def loader_of(master):
    """Tell whether nginx (process ID of its master) is still loading the names of cached files."""
    names = subprocess.run(
        ["ps", "--ppid", str(master), "-o", "args="], capture_output=True, text=True, check=False
    ).stdout
    return "cache loader" in names


def shared_memory():
    """Return the bytes of shared memory in use on this machine, which include nginx's keys."""
    found = re.search(r"^Shmem: +([0-9]+) kB", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
