"""A hook of MkDocs: pages link to each other as on a forge, and the site has what they link to outside of docs/.

README.md is the site's first page. Other files of the checkout to which pages link are below repository/, and
adr/index.md lists the decisions. MkDocs checks all links, so that none leads nowhere.
"""

from __future__ import annotations

import pathlib
import posixpath

from markdown.blockprocessors import build_block_parser
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.structure.files import File

from vitrine_cli.prose import links, slug, target_of

PROJECT = pathlib.Path(__file__).resolve().parents[2]
START, DECISIONS, ELSEWHERE = "index.md", "adr/index.md", "repository/"


def place_of(path):
    """Return the place of a file of the checkout in the site's sources (path: str, relative to the checkout; str)."""
    special = {"README.md": START, "docs/adr": DECISIONS}
    if path in special or path.startswith("docs/"):
        return special.get(path, path.removeprefix("docs/"))
    return ELSEWHERE + path


def path_of(place):
    """Return the file of the checkout (str) that has a place (str) in the site's sources: the reverse of place_of."""
    if place.startswith(ELSEWHERE):
        return place.removeprefix(ELSEWHERE)
    return "README.md" if place == START else f"docs/{place}"


class Links(Extension):
    """Has every link lead to the place of its target in the site.

    Attributes:
        place: str, place of the page that is rendered.
    """

    place = START

    def extendMarkdown(self, md):
        """Register with a parser (md: markdown.Markdown)."""
        # What belongs to an item of a list is below the item's text: three characters below a number, not four.
        md.tab_length = 3
        md.parser = build_block_parser(md)
        # Before MkDocs' own, which has priority 0, and turns places into addresses.
        md.treeprocessors.register(Rewriter(self), "vitrine_links", 1)


class Rewriter(Treeprocessor):
    """Rewrites the links of a page."""

    def __init__(self, extension):
        """Keep the extension (Links), which knows the page."""
        super().__init__()
        self.place = lambda: extension.place

    def run(self, root):
        """Rewrite the links below an element (root: xml.etree.ElementTree.Element)."""
        for element in root.iter():
            key = {"a": "href", "img": "src"}.get(element.tag)
            found = target_of(path_of(self.place()), element.get(key, "")) if key else None
            if found and not element.get(key).startswith("#"):
                place = posixpath.relpath(place_of(found[0]), posixpath.dirname(self.place()) or ".")
                element.set(key, f"{place}#{found[1]}" if found[1] else place)


LINKS = Links()


def on_config(config):
    """Have pages rendered with their links rewritten, and with the anchors that a forge makes."""
    # The first, since the others add to the parser.
    config.markdown_extensions.insert(0, LINKS)
    config.mdx_configs.setdefault("toc", {})["slugify"] = lambda heading, _separator: slug(heading)
    return config


def on_files(files, config):
    """Add the first page, the list of decisions, and what pages link to outside of docs/."""
    files.append(File.generated(config, DECISIONS, content=decisions()))
    waiting = ["README.md", *(path_of(file.src_uri) for file in files.documentation_pages())]
    done = {path_of(DECISIONS)}
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        if files.get_file_from_path(place_of(path)) is None:
            files.append(File.generated(config, place_of(path), abs_src_path=str(PROJECT / path)))
        if path.endswith(".md"):
            targets = [target_of(path, address) for address in links((PROJECT / path).read_text())]
            waiting += [found[0] for found in targets if found and (PROJECT / found[0]).is_file()]
    return files


def on_page_markdown(markdown, page, **_):
    """Note which page is rendered next."""
    LINKS.place = page.file.src_uri
    return markdown


def decisions():
    """Return the list of decisions in Markdown (str)."""
    paths = sorted((PROJECT / "docs" / "adr").glob("*.md"))
    titles = {path: path.read_text().partition("\n")[0].removeprefix("# ") for path in paths}
    return "# Decisions\n\n" + "".join(f"- [{path.stem[:4]}: {titles[path]}]({path.name})\n" for path in paths)
