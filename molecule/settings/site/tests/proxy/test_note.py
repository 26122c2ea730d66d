"""The site's own check of the proxy."""

testinfra_hosts = ["ansible://proxy"]


def test_note(host, variables):
    """The site's own tasks ran after the proxy's role."""
    assert host.file("/etc/own-note").content_string.strip() == variables["nginx_cache_own_note"]
