"""Which files are those of imports."""


def is_imported(call, file_id):
    """Tell whether a file is an import's, or its log."""
    found = call.connection.execute(
        "select 1 from filesetentry where originalfile = %s"
        " union select 1 from joboriginalfilelink l join filesetjoblink f on f.child = l.parent where l.child = %s",
        (file_id, file_id),
    ).fetchone()
    return found is not None
