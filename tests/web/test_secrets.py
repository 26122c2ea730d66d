"""The site's secrets stay where they belong."""

from secrets_search import check

testinfra_hosts = ["ansible://web"]


def test_secrets(host, variables):
    """No secret of the site is in the journal, a process list, a report, or a file that other accounts read."""
    check(host, variables)
