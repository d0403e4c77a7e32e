"""What mkdocs does beside its usual work: the site also has the pages and files of the repository outside `docs/`.

A link of a page is written as it works in the repository. Here it is turned to where its target is on the site: a page,
the reference of a module, or the file itself.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "integrations/comfyui/README.md": "comfyui.md",
    "dequant/photos/LICENSES.md": "cards/photos.md",
}
"""Pages outside `docs/`, and what they are called on the site."""

FOUNDATIONS = ("errors", "provenance", "masking")
"""Modules in no package."""

CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside `docs/`, the reference, and lists of what has no page that names it."""
    for place in _pages():
        files.append(File.generated(config, _on_site(place), content=(ROOT / place).read_text(encoding="utf-8")))
    for table in sorted((ROOT / "results").glob("*.csv")):
        files.append(File.generated(config, f"results/{table.name}", abs_src_path=str(table)))
    cards = {_on_site(place): _title(ROOT / place) for place in _pages() if _on_site(place).startswith("cards/")}
    files.append(File.generated(config, "cards/index.md", content=_list("Weights and photos that ship", cards)))
    decisions = {one.relative_to(ROOT / "docs").as_posix(): _title(one) for one in _decisions()}
    files.append(File.generated(config, "decisions/index.md", content=_list("Decisions", decisions)))
    for name in _packages():
        content = f"# dequant.{name}\n\n::: dequant.{name}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    content = "# Errors, provenance, masking\n\n" + "\n\n".join(
        f"::: dequant.{name}\n    options: {{show_root_heading: true, show_root_toc_entry: true}}"
        for name in FOUNDATIONS
    )
    files.append(File.generated(config, "reference/foundations.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to where their targets are on the site."""
    here = page.file.src_uri
    place = next((one for one in _pages() if _on_site(one) == here), f"docs/{here}")

    def turned(link: re.Match[str]) -> str:
        image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        if not target or ":" in target:
            return link[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        there = _on_site(found)
        if there is None:
            return text
        if there.startswith("files/") and files.get_file_from_path(there) is None:
            files.append(File.generated(config, there, abs_src_path=str(ROOT / found)))
        there, _, module = there.partition("#")
        anchor = f"#{module}" if module else anchor
        return f"{image}[{text}]({posixpath.relpath(there, posixpath.dirname(here) or '.')}{anchor})"

    return "".join(part if CODE.fullmatch(part) else LINK.sub(turned, part) for part in CODE.split(markdown))


def _on_site(place: str) -> str | None:
    """Where a file of the repository is on the site, with the anchor of a module; None for folders without a page."""
    if place in PAGES:
        return PAGES[place]
    first, _, rest = place.partition("/")
    if first == "docs":
        return "decisions/index.md" if rest == "decisions" else rest
    if first in ("results", "notebooks") and rest:
        return place
    if first == "dequant" and place.endswith("/README.md"):
        return f"cards/{posixpath.dirname(place).removeprefix('dequant/weights/').replace('/', '-')}.md"
    if first == "dequant" and (module := _module(rest)):
        return module
    return f"files/{place}" if (ROOT / place).is_file() else None


def _module(rest: str) -> str | None:
    """The reference of a package, or of a module in it."""
    package, _, name = rest.partition("/")
    if package.removesuffix(".py") in FOUNDATIONS:
        return f"reference/foundations.md#dequant.{package.removesuffix('.py')}"
    if package not in _packages() or name and not name.endswith(".py"):
        return None
    page = f"reference/{package}.md"
    return f"{page}#dequant.{package}.{name.removesuffix('.py')}" if name else page


def _pages() -> list[str]:
    """Pages outside `docs/`."""
    cards = [one.relative_to(ROOT).as_posix() for one in sorted((ROOT / "dequant" / "weights").rglob("README.md"))]
    notebooks = [one.relative_to(ROOT).as_posix() for one in sorted((ROOT / "notebooks").glob("*.md"))]
    return [*PAGES, "results/README.md", *cards, *notebooks]


def _packages() -> list[str]:
    return sorted(one.parent.name for one in (ROOT / "dequant").glob("*/__init__.py"))


def _decisions() -> list[Path]:
    return sorted((ROOT / "docs" / "decisions").glob("*.md"))


def _title(path: Path) -> str:
    """The first heading, behind the number of a decision or the name of weights."""
    title = next(line[2:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    if path.parent.name == "decisions":
        return f"{int(path.name[:4])}: {re.sub(r'^[0-9]+[.:] *', '', title)}"
    return f"`{path.parent.name}`: {title}" if path.name == "README.md" else title


def _list(title: str, links: dict[str, str]) -> str:
    """A page of links, whose targets are places on the site."""
    lines = [f"- [{name}]({posixpath.basename(place)})" for place, name in links.items()]
    return f"# {title}\n\n" + "\n".join(lines) + "\n"
