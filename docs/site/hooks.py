"""What the documentation site adds to the pages of `docs/`: navigation, reference from code, queries."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site import reference

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
# Files from outside of `docs/` that the site has too, under the same path.
OUTSIDE: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "schemas/pact.schema.json")
STYLE: Final = ("site.css", "site.js", "site.svg")

_SECTION = re.compile(r"## (?P<title>.+)")
_ENTRY = re.compile(r"(?:- |\d+\. |\| )\[(?P<title>[^]]+)]\((?P<path>[^)#]+\.md)\)")
_LINK = re.compile(r"\[(?P<text>[^]]*)]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_QUERY = re.compile(r"^\[`[^`]+`]\((?P<path>queries/[^)]+\.sql)\)$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> None:
    """Take the navigation from the index, `docs/README.md`."""
    config.nav = list(navigation())


def navigation() -> Iterator[dict[str, Any]]:
    """The index's sections and their entries; pages of reference join the section of that name."""
    yield {"Home": "README.md"}
    sections: dict[str, list[dict[str, Any]]] = {}
    for line in (DOCS / "README.md").read_text(encoding="utf-8").splitlines():
        if heading := _SECTION.match(line):
            entries = sections.setdefault(heading["title"], [])
        elif entry := _ENTRY.match(line):
            entries.append({entry["title"]: _node(entry["path"])})
    sections.setdefault("Reference", []).extend({page.title: page.path} for page in reference.PAGES)
    yield from ({title: entries} for title, entries in sections.items())


def _node(path: str) -> str | list[Any]:
    """A page, or where it is the index of a folder, the folder."""
    path = path.removeprefix("../")
    if PurePosixPath(path).name != "README.md":
        return path
    folder = PurePosixPath(path).parent
    lines = (DOCS / path).read_text(encoding="utf-8").splitlines()
    return [path, *({one["title"]: f"{folder}/{one['path']}"} for one in map(_ENTRY.match, lines) if one)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in `docs/`: the pages made from code, and files of the repository's root."""
    for page in reference.PAGES:
        files.append(File.generated(config, page.path, content=page.text()))
    for path in OUTSIDE:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    for name in STYLE:
        files.append(File.generated(config, name, abs_src_path=str(DOCS / "site" / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave `docs/` to where the site has their target, and show queries in full."""
    source = page.file.src_uri
    folder = ROOT if source in OUTSIDE else (DOCS / source).parent
    if source == "queries.md":
        markdown = _QUERY.sub(lambda found: _sql(found["path"]), markdown)
    return _LINK.sub(lambda found: _link(found, folder, page.file), markdown)


def _sql(path: str) -> str:
    return f'```sql title="{path}"\n{(DOCS / path).read_text(encoding="utf-8").rstrip()}\n```'


def _link(found: re.Match[str], folder: Path, file: File) -> str:
    target = Path(os.path.normpath(folder / found["path"]))
    if target.is_dir():
        return found["text"]
    if not target.is_relative_to(ROOT) or (target.is_relative_to(DOCS) and folder.is_relative_to(DOCS)):
        return found[0]
    within = target.relative_to(DOCS if target.is_relative_to(DOCS) else ROOT).as_posix()
    if target.is_relative_to(DOCS) or within in OUTSIDE:
        path = os.path.relpath(within, PurePosixPath(file.src_uri).parent)
        return f"[{found['text']}]({path}{found['anchor'] or ''})"
    if not target.exists():
        raise PluginError(f"{file.src_uri} links to {found['path']}, which does not exist")
    # The source code is not part of the site.
    return f"{found['text']} (`{within}`)"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Give the theme's search dialog the name that it lacks, for those who do not see it."""
    return output.replace('role="dialog">', 'role="dialog" aria-label="Search">')
