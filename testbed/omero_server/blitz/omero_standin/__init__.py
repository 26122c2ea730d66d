"""The stand-in OMERO.server: a Blitz of Python servants that keeps its data in PostgreSQL."""
