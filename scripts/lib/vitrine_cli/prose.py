"""What Markdown has in it: links, anchors, commands. The documentation's site and its tests read it alike."""

from __future__ import annotations

import itertools
import posixpath
import re
import urllib.parse

from markdown_it import MarkdownIt

PARSER = MarkdownIt("commonmark").enable("table")
# Languages of blocks that have commands.
SHELLS = ("sh", "bash", "console")


def inline_tokens(text):
    """Yield the tokens inside of the paragraphs, headings and tables of a text (str) in Markdown."""
    for token in PARSER.parse(text):
        yield from token.children or ()


def links(text):
    """Return the addresses of links and images of a text (str) in Markdown, as they are written (list of str)."""
    found = (token.attrs.get("href") or token.attrs.get("src") for token in inline_tokens(text))
    return [address for address in found if address]


def target_of(path, address):
    """Tell where a link leads.

    Args:
        path: str, the file that has the link, relative to the checkout.
        address: str, the link's address.

    Returns:
        A tuple (target, anchor), both str: the target is relative to the checkout. None if it leads elsewhere.
    """
    parts = urllib.parse.urlsplit(address)
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return None
    if not parts.path:
        return path, parts.fragment
    target = posixpath.join(posixpath.dirname(path), urllib.parse.unquote(parts.path))
    return posixpath.normpath(target), parts.fragment


def slug(heading):
    """Return the anchor of a heading (str) without markup, as GitHub and GitLab make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(text):
    """Return the anchors of a text (str) in Markdown: a set of str."""
    tokens = PARSER.parse(text)
    found: list[str] = []
    for opening, content in itertools.pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(each.content for each in content.children if each.type in ("text", "code_inline"))
            found.append(slug(words))
    # A second heading of the same name gets a number.
    return {f"{name}-{found[:place].count(name)}".removesuffix("-0") for place, name in enumerate(found)}


def blocks(text):
    """Return the blocks of commands of a text (str) in Markdown: a list of (line number, str)."""
    fences = (token for token in PARSER.parse(text) if token.type == "fence")
    found = [
        (token.map[0] + 1, token) for token in fences if token.info.split()[:1] and token.info.split()[0] in SHELLS
    ]
    return [
        (line, without_output(token.content) if "console" in token.info else token.content) for line, token in found
    ]


def without_output(content):
    """Return the commands of a session in a terminal (str), which have a prompt."""
    return "".join(f"{line[2:]}\n" for line in content.splitlines() if line.startswith(("$ ", "# ")))


def spans(text):
    """Return the pieces of code in the sentences of a text (str) in Markdown: a list of str."""
    return [token.content for token in inline_tokens(text) if token.type == "code_inline"]
