"""scripts/bench: measures a part of a running site. Its arguments are described in that file."""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from rich.table import Table

from vitrine_cli import processes, screen
from vitrine_cli.site import find_inventory, load_site


def parse(arguments):
    """Parse the command line (list of str); returns an argparse.Namespace with what, inventories and keys."""
    parser = argparse.ArgumentParser(
        "scripts/bench",
        usage="scripts/bench proxy INVENTORY [--keys N]   (see --help)",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("what", choices=["proxy"])
    parser.add_argument("inventories", nargs="+")
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    if options.keys < 1000:
        parser.error(f"--keys is {options.keys}; expected 1000 or more")
    return options


def request(arguments):
    """Measure what is asked for.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).

    Raises:
        RefusedError: It cannot be measured.
    """
    options = parse(arguments)
    screen.show_setup()
    site = load_site([find_inventory(each) for each in options.inventories])
    report = site.reports / "bench" / f"{options.what}.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    with processes.lock(site, f"scripts/bench {options.what}") as descriptor:
        more = ["-e", f"bench_keys={options.keys}", "-e", f"bench_report={report}"]
        playbook = f"scripts/lib/bench/{options.what}.yml"
        processes.need("browser")
        code = processes.run(["ansible-playbook", *site.inventory_arguments, *more, playbook], [descriptor])
    if code == 0:
        show(json.loads(report.read_text()))
        screen.console.print(f"    {report}")
    return code


def show(report):
    """Print the measurements (dict, as written by scripts/lib/bench/proxy.py)."""
    table = Table(title="cached answers, requests per second (median of five rounds, 100 connections)")
    for name in ("answers", "bytes", "site", "same files", "default cache", "site : files", "site : default"):
        table.add_column(name, justify="left" if name == "answers" else "right")
    for name in ("thumbnails", "tiles"):
        seen = report[name]
        rates = seen["per_second"]
        cells = [seen["bytes"], rates["site"], rates["files"], rates["plain"], seen["of_files"], seen["of_plain"]]
        table.add_row(name, *map(str, cells))
    screen.console.print(table)
    table = Table(title="cached thumbnails")
    for name in ("connections", "p50 ms", "p99 ms", "failed"):
        table.add_column(name, justify="right")
    for connections, seen in report["latency"].items():
        table.add_row(connections, *(str(seen[name]) for name in ("p50_ms", "p99_ms", "failed")))
    screen.console.print(table)
    table = Table(title="everything else", show_header=False)
    one, killed, large, page = report["one key"], report["back end killed"], report["large"], report["page"]
    for row in (
        *(
            (f"{page['thumbnails']} thumbnails in a browser, {how}: seconds, median", statistics.median(page[how]))
            for how in ("cold", "warm")
        ),
        ("1000 at once for one key: reached the back end, five rounds", ", ".join(map(str, one["reached_back_end"]))),
        ("1000 at once for one key: seconds", one["seconds"]),
        ("back end killed under load: failed requests", killed["failed"]),
        (f"{large['keys']} keys: bytes on disk per key", large["disk_bytes_a_key"]),
        (f"{large['keys']} keys: MiB of memory", large["shared_memory_mib"]),
        (f"{large['keys']} keys: seconds to the first answer after a start", large["first_answer_seconds"]),
        (f"{large['keys']} keys: seconds until all are known", large["all_known_seconds"]),
        (f"{large['keys']} keys: seconds to purge {large['purged']} by prefix", large["purge_seconds"]),
    ):
        table.add_row(*map(str, row))
    screen.console.print(table)


def main(arguments):
    """Run scripts/bench (arguments: list of str; returns the exit code)."""
    return processes.carry_out(request, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
