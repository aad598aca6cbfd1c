"""A hook of mkdocs: files of the checkout that pages link to become pages of the site, so that links lead there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
_OUTWARD = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")
_AT_THE_TOP = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")
_LANGUAGES = {".lua": "lua", ".py": "python", ".service": "ini", ".yaml": "yaml"}


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    linked = {link for page in files.documentation_pages() for link in _OUTWARD.findall(page.content_string)}
    if "README.md" in linked:
        found = _AT_THE_TOP.findall((ROOT / "README.md").read_text("utf-8"))
        linked |= {link for link in found if not link.startswith("docs/")}
    paths = {path for link in linked for path in _with_its_files(ROOT / link)}
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        text = f"---\nsearch:\n  exclude: true\n---\n{_text(path, name)}"
        files.append(File.generated(config, _page(name), content=text, inclusion=InclusionLevel.NOT_IN_NAV))


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    del config, files
    if page.file.generated_by is not None:
        return markdown
    return _OUTWARD.sub(lambda link: _page(link[1]), markdown)


def _page(name: str) -> str:
    return f"source/{name.rstrip('/').removesuffix('.md')}.md"


def _from_the_top(link: str) -> str:
    """Turn a link of a page that stands at the checkout's top."""
    page = link.removeprefix("docs/")
    return f"../{page}" if page != link else _page(link).removeprefix("source/")


def _with_its_files(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        yield from (file for file in path.iterdir() if file.is_file())


def _text(path: Path, name: str) -> str:
    if path.suffix == ".md":
        text = path.read_text("utf-8")
        return _AT_THE_TOP.sub(lambda link: _from_the_top(link[1]), text) if path.parent == ROOT else text
    if path.is_dir():
        files = sorted(file.name for file in path.iterdir() if file.is_file())
        links = [f"- [{file}]({path.name}/{file.removesuffix('.md')}.md)" for file in files]
        return "\n".join((f"# {name}", "", *links))
    return f"# {name}\n\n````{_LANGUAGES.get(path.suffix, 'text')}\n{path.read_text('utf-8')}````\n"
