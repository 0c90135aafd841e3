"""Make a built site small: a reader sees and downloads nothing less.

    python tools/slim.py _build/html

- Source maps and translations of the theme, which only its authors need, are removed, and its
  icons' second format, which no browser of the last ten years asks for.
- Icons come from the font of the theme, which its style sheet names; the script that would draw two
  thousand of them as pictures, a megabyte and a half for each page, goes.
- Pictures become lossless WebP, a third of their size as PNG; pages point to them.
- Notebooks that a page offers for download come without pictures, which they draw anew, and
  with tables as text alone.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from PIL import Image


def drop_spares(site: Path) -> None:
    """Remove source maps, translations, and fonts that lie there as WOFF2, too."""
    shutil.rmtree(site / "_static" / "locales", ignore_errors=True)
    for path in site.rglob("*.map"):
        path.unlink()
    for path in site.rglob("*.ttf"):
        if path.with_suffix(".woff2").is_file():
            path.unlink()


def drop_icon_script(site: Path) -> None:
    """Remove the script that puts drawings in place of the icons of the font."""
    script = re.compile(r"[^\S\n]*<script[^>]*/fontawesome\.js[^>]*></script>\n?")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if script.search(text):
            page.write_text(script.sub("", text), encoding="utf-8")
    for path in (site / "_static" / "scripts").glob("fontawesome.js*"):
        path.unlink()


def shrink_pictures(site: Path) -> None:
    """Store every picture as WebP if that is smaller, and point the pages to it."""
    smaller = {}
    for path in sorted((site / "_images").glob("*.png")):
        other = path.with_suffix(".webp")
        with Image.open(path) as picture:
            picture.save(other, lossless=True)
        if other.stat().st_size < path.stat().st_size:
            path.unlink()
            smaller[f"_images/{path.name}"] = f"_images/{other.name}"
        else:
            other.unlink()
    for page in site.rglob("*.html"):
        text = before = page.read_text(encoding="utf-8")
        for old, new in smaller.items():
            text = text.replace(old, new)
        if text != before:
            page.write_text(text, encoding="utf-8")


def strip_downloads(site: Path) -> None:
    """Take pictures and HTML out of the notebooks that pages offer for download."""
    for path in (site / "_sources").rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                data.pop("image/png", None)
                if "text/plain" in data:
                    data.pop("text/html", None)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def slim(site: Path) -> None:
    """Do all of it; a second time changes nothing."""
    drop_spares(site)
    drop_icon_script(site)
    shrink_pictures(site)
    strip_downloads(site)


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
