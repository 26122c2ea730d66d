"""The site's secrets stay where they belong."""

from secrets_search import check

# The storage, too: when its own gate runs, a new site has hardly any secrets.
testinfra_hosts = ["ansible://proxy", "ansible://storage"]


def test_secrets(host, variables):
    """No secret of the site is in the journal, a process list, a report, or a file that other accounts read."""
    check(host, variables)
