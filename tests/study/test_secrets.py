"""An import leaves no secret behind."""

from secrets_search import check

# Where the importer ran, after the gate of that host's own layer.
testinfra_hosts = ["ansible://omero_readwrite"]


def test_secrets(host, variables):
    """No secret is in the journal, a process list, a report, or a file that other accounts read, after an import."""
    check(host, variables)
