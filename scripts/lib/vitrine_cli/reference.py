"""scripts/docs: the README of each role, and the index of all variables. Its arguments are described in that file."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap

import yaml
from jinja2 import Environment, StrictUndefined

from vitrine_cli.dependencies import parse
from vitrine_cli.site import PROJECT

INDEX = "docs/variables.md"
# Longer defaults are for defaults/main.yml.
DEFAULT_SHOWN = 80
# Markup of argument specs: C(code), O(option), V(value), M(module), E(variable); I and B are for emphasis.
CODE = re.compile(r"\b[COVME]\(([^)]*)\)")
EMPHASIS = re.compile(r"\b[IB]\(([^)]*)\)")
VARIABLE = re.compile(r"^([a-z]\w*):", re.MULTILINE)
# The end of a sentence is followed by another one; `i.e. this` is none.
SENTENCE = re.compile(r"(?<=[.;])\s+(?=[A-Z`])")

ROLE = """\
<!-- Written by scripts/docs from meta/ and defaults/ of the role. -->
# {{ name }}

{{ summary }}.

{% for paragraph in description %}
{{ paragraph }}

{% endfor %}
Platforms: {{ platforms }}. Licence: {{ licence }}.

## Entry points

| `tasks_from` | purpose | inputs |
|---|---|---|
{% for entry in entries %}
| `{{ entry.name }}` | {{ entry.purpose }} | {{ entry.inputs }} |
{% endfor %}

## Inputs

{% for table in tables if table.rows %}
{% if table.title %}
### {{ table.title }}

{% endif %}
| variable | type | default | meaning |
|---|---|---|---|
{% for row in table.rows %}
| `{{ row.name }}` | {{ row.type }} | {{ row.default }} | {{ row.meaning }} |
{% endfor %}

{% endfor %}
## Example

```yaml
- name: Example
  hosts: all
  roles:
    - role: {{ collection }}.{{ name }}
{% if required %}
      vars:
{% for row in required %}
        {{ row.name }}:  # {{ row.plain_type }}
{% endfor %}
{% endif %}
```
"""

VARIABLES = """\
<!-- Written by scripts/docs from the argument specs of the roles and the comments in group_vars. -->
# Variables

Inputs of roles, and settings that roles share. An inventory overrides each of them. The README of a role describes its
inputs in full.

| variable | of | type | default | meaning |
|---|---|---|---|---|
{% for row in rows %}
| `{{ row.name }}` | {{ row.of }} | {{ row.type }} | {{ row.default }} | {{ row.meaning }} |
{% endfor %}
"""


def render(template, **values):
    """Fill a template (str) with values; returns a str."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701 (Markdown)
    return re.sub(r"\n{3,}", "\n\n", environment.from_string(template).render(**values)).rstrip() + "\n"


def markdown(text):
    """Turn a description (str, or list of str) into a line of Markdown (str), fit for a cell of a table."""
    line = " ".join(" ".join([text] if isinstance(text, str) else text).split())
    line = EMPHASIS.sub(r"*\1*", CODE.sub(r"`\1`", line))
    # Outside of code, names in angle brackets are no HTML.
    parts = line.split("`")
    parts[::2] = [re.sub(r"<(\w+)>", r"\\<\1>", part) for part in parts[::2]]
    return "`".join(parts).replace("|", "\\|")


def first_sentence(text):
    """Return the first sentence of a description (str, or list of str) as Markdown (str)."""
    return SENTENCE.split(markdown(text if isinstance(text, str) else text[0]))[0].rstrip(";")


def show(value):
    """Show a default (any value of YAML) in a cell of a table (str)."""
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()
    text = text.removesuffix("\n...").strip()
    if len(text) > DEFAULT_SHOWN or "\n" in text:
        return "see `defaults/main.yml`"
    if "|" in text or "`" in text:
        return "`` " + text.replace("|", "\\|") + " ``"
    return f"`{text}`" if text else "empty"


def type_of(option):
    """Describe the type of an option of an argument spec (dict; str)."""
    kind = option.get("type", "str")
    if kind == "list":
        kind = f"list of {option.get('elements', 'str')}"
    if "choices" in option:
        kind += ": " + ", ".join(f"`{choice}`" for choice in option["choices"])
    return kind


def rows_of(options, defaults, prefix=""):
    """List the inputs of a role, and the keys of those that are dicts.

    Args:
        options: dict of an argument spec.
        defaults: dict of defaults/main.yml.
        prefix: str, the variable and the keys that lead to these options.

    Yields:
        dict with name, type, plain_type, default, meaning and first (all str), and required (bool).
    """
    for name, option in sorted(options.items()):
        required = bool(option.get("required"))
        if required:
            default = "**required**"
        elif prefix and "default" not in option:
            default = "unset"
        else:
            default = show(defaults.get(name, option.get("default", "")) if not prefix else option["default"])
        yield {
            "name": prefix + name,
            "type": type_of(option),
            "plain_type": type_of(option).replace("`", ""),
            "default": default,
            "meaning": markdown(option["description"]),
            "first": first_sentence(option["description"]),
            "required": required,
        }
        inner = prefix + name + ("[]." if option.get("type") == "list" else ".")
        yield from rows_of(option.get("options", {}), {}, inner)


def read(path):
    """Read a file of YAML (pathlib.Path; a dict), which may be missing."""
    return (parse(path.read_text()) or {}) if path.exists() else {}


def roles(project=PROJECT):
    """Return the folders of the roles that are documented: those with meta/main.yml (sorted list of pathlib.Path)."""
    return sorted(path.parents[1] for path in (project / "roles").glob("*/meta/main.yml"))


def readme(folder, collection):
    """Write the README of a role.

    Args:
        folder: pathlib.Path of the role.
        collection: str, the name of the collection.

    Returns:
        str.
    """
    specs = read(folder / "meta/argument_specs.yml")["argument_specs"]
    defaults = read(folder / "defaults/main.yml")
    info = read(folder / "meta/main.yml")["galaxy_info"]
    main = specs["main"]
    entries, tables, seen = [], [], []
    for name, spec in specs.items():
        options = spec.get("options", {})
        same = next((other for other, known in seen if known == options), None)
        purpose = markdown(spec["short_description"])
        if name == "validate":
            purpose = "Only checks the inputs; connects to no host"
        inputs = "none" if not options else f"those of `{same}`" if same else "below"
        entries.append({"name": name, "purpose": purpose, "inputs": inputs})
        if same is None:
            tables.append({"title": "" if name == "main" else f"Of `{name}`", "rows": list(rows_of(options, defaults))})
        seen.append((name, options))
    description = main.get("description", [])
    return render(
        ROLE,
        name=folder.name,
        summary=markdown(main["short_description"]).rstrip("."),
        description=[
            textwrap.fill(markdown(each), 140, break_long_words=False, break_on_hyphens=False)
            for each in ([description] if isinstance(description, str) else description)
        ],
        platforms="; ".join(
            f"{each['name']} {', '.join(map(str, each['versions']))}".removesuffix(" all") for each in info["platforms"]
        ),
        licence=info["license"],
        entries=entries,
        tables=tables,
        collection=collection,
        required=[row for row in tables[0]["rows"] if row["required"] and "." not in row["name"]],
    )


def comments(text):
    """Find the variables of a file of group_vars.

    Args:
        text: str, YAML.

    Returns:
        A dict from names to the comment (str) right above them, empty if there is none.
    """
    found, above = {}, []
    for line in text.splitlines():
        if line.startswith("# "):
            above.append(line[2:])
            continue
        if match := VARIABLE.match(line):
            found[match[1]] = " ".join(above)
        above = []
    return found


def index(project=PROJECT):
    """Write the index of all variables (project: pathlib.Path; str)."""
    rows = {}
    for folder in roles(project):
        defaults = read(folder / "defaults/main.yml")
        for spec in read(folder / "meta/argument_specs.yml")["argument_specs"].values():
            for row in rows_of(spec.get("options", {}), defaults):
                if "." not in row["name"]:
                    of = f"role [{folder.name}](../roles/{folder.name}/README.md)"
                    rows.setdefault(row["name"], row | {"of": of, "meaning": row["first"]})
    for path in sorted((project / "group_vars").rglob("*.yml")):
        values = parse(path.read_text())
        place = path.relative_to(project)
        for name, comment in comments(path.read_text()).items():
            link = f"[{place}](../{place})"
            if name in rows:
                rows[name]["of"] += f", set in {link}"
                continue
            kind = {bool: "bool", int: "int", list: "list", dict: "dict"}.get(type(values[name]), "str")
            computed = "{{" in str(values[name]) or "{%" in str(values[name])
            default = "computed" if computed else show(values[name]).replace("`defaults/main.yml`", "the file")
            meaning = first_sentence(comment) if comment else "see the file"
            rows[name] = {"name": name, "of": link, "type": kind, "default": default, "meaning": meaning}
    return render(VARIABLES, rows=[rows[name] for name in sorted(rows)])


def documents(project=PROJECT):
    """Write all documents.

    Args:
        project: pathlib.Path of the checkout.

    Returns:
        A dict from paths (pathlib.Path) to contents (str).
    """
    galaxy = read(project / "galaxy.yml")
    collection = f"{galaxy['namespace']}.{galaxy['name']}"
    found = {folder / "README.md": readme(folder, collection) for folder in roles(project)}
    return found | {project / INDEX: index(project)}


def stale(project=PROJECT):
    """Return the documents that are not up to date: a sorted list of paths (str) relative to a checkout."""
    return sorted(
        str(path.relative_to(project))
        for path, content in documents(project).items()
        if not path.exists() or path.read_text() != content
    )


def main(arguments):
    """Carry out a request.

    Args:
        arguments: list of str, the command line.

    Returns:
        The exit code (int).
    """
    parser = argparse.ArgumentParser("scripts/docs", usage="scripts/docs [--check]", add_help=False, allow_abbrev=False)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    outdated = stale()
    if not options.check:
        for path, content in documents().items():
            if str(path.relative_to(PROJECT)) in outdated:
                path.write_text(content)
    for path in outdated:
        print(f"{path}: {'not up to date; run scripts/docs' if options.check else 'written'}")
    return 1 if options.check and outdated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
