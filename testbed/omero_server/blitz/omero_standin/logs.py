"""The logs of the server's processes."""

import logging


def log_to(path):
    """Write the log into a file (Path)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=path,
        level=logging.INFO,
        format="%(asctime)s %(levelname)-5s [%(name)s] (%(threadName)s) %(message)s",
    )
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)
