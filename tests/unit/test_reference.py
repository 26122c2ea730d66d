"""READMEs of roles and the index of variables, which scripts/docs writes."""

import shutil

import pytest

from vitrine_cli import reference
from vitrine_cli.site import PROJECT


@pytest.fixture
def copy(tmp_path):
    """Return a copy of what scripts/docs reads and writes (pathlib.Path)."""
    for name in ("roles", "group_vars", "docs"):
        shutil.copytree(PROJECT / name, tmp_path / name, symlinks=True)
    shutil.copy(PROJECT / "galaxy.yml", tmp_path)
    return tmp_path


def test_documents_are_up_to_date():
    """The descriptions of variables and the documents generated from them agree; otherwise run scripts/docs."""
    assert reference.stale() == []


def test_a_changed_description_makes_documents_stale(copy):
    """The README of the role, and the index."""
    spec = copy / "roles/time_sync/meta/argument_specs.yml"
    spec.write_text(spec.read_text().replace("Your own NTP servers", "Other NTP servers"))
    assert reference.stale(copy) == ["docs/variables.md", "roles/time_sync/README.md"]


def test_a_changed_comment_in_group_vars_makes_the_index_stale(copy):
    """A variable that no role has is described by its comment."""
    settings = copy / "group_vars/all/database.yml"
    settings.write_text(settings.read_text().replace("Major version of PostgreSQL.", "Version of PostgreSQL."))
    assert reference.stale(copy) == ["docs/variables.md"]


def test_index_has_every_variable():
    """Those of roles' defaults and those of group_vars."""
    text = (PROJECT / reference.INDEX).read_text()
    names = {name for folder in reference.roles() for name in reference.read(folder / "defaults/main.yml")}
    for path in (PROJECT / "group_vars").rglob("*.yml"):
        names |= set(reference.comments(path.read_text()))
    assert len(names) > 200
    assert [name for name in sorted(names) if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("C(a) or O(b), V(c).", "`a` or `b`, `c`."),
        ("Creates C(<dir>/<name>.key) in <dir>.", "Creates `<dir>/<name>.key` in \\<dir>."),
        ("a|b", "a\\|b"),
        (["One.", "Two."], "One. Two."),
    ],
)
def test_markup(text, shown):
    """Markup of argument specs becomes Markdown."""
    assert reference.markdown(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [([], "`[]`"), ("", "empty"), (False, "`false`"), (60, "`60`"), ("{{ a | b }}", "`` {{ a \\| b }} ``")],
)
def test_defaults(value, shown):
    """As they are written in YAML."""
    assert reference.show(value) == shown


def test_comments():
    """A variable has the comment right above it, and none of the variable before."""
    text = "---\n# One.\n# More.\na: 1\nb: 2\n\n# Of c.\n\nc:\n  # inner\n  d: 3\n"
    assert reference.comments(text) == {"a": "One. More.", "b": "", "c": ""}
