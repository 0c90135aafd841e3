"""The rooms of the package: what imports what, and the picture of it in CONTRIBUTING.md.

``python tools/rooms.py`` draws the picture anew between its two marks; a test compares.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- rooms: drawn by tools/rooms.py -->", "<!-- end of rooms -->"


def imports(package: Path = ROOT / "hmmtheory") -> dict[str, set[str]]:
    """Return the rooms that each room imports, at its head or inside a function."""
    found: dict[str, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        room = ".".join(file.relative_to(package).with_suffix("").parts)
        if room.endswith("__init__"):
            continue
        found[room] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found[room] |= {name for name in names if name.startswith(package.name + ".")}
    rooms = set(found)
    return {
        room: {
            other
            for other in rooms
            for name in names
            if f"{name}.".startswith(f"{package.name}.{other}.")
        }
        for room, names in found.items()
    }


def reachable(graph: dict[str, set[str]], room: str) -> set[str]:
    """Return every room that `room` imports, directly or through others."""
    found: set[str] = set()
    waiting = list(graph[room])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += graph[other]
    return found


def picture() -> str:
    """Return a Mermaid drawing: an arrow from what is imported to who imports it.

    Arrows that others imply are left out, and so are the tools that every room uses.
    """
    graph = {
        room: {other for other in others if not other.startswith("_")}
        for room, others in imports().items()
        if not room.startswith("_")
    }
    lines = ["```mermaid", "flowchart LR"]
    for wing in ("", "practice", "studies"):
        names = [r for r in graph if r.partition(".")[0] == wing or (not wing and "." not in r)]
        lines.append(f"  subgraph {wing or 'core'}")
        lines += [f"    {room}[{room.rpartition('.')[2]}]" for room in names]
        lines.append("  end")
    for room, others in graph.items():
        implied = {far for other in others for far in reachable(graph, other)}
        lines += [f"  {other} --> {room}" for other in sorted(others - implied)]
    return "\n".join([*lines, "```"])


def drawn() -> str:
    """Return CONTRIBUTING.md with the picture of today's imports."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{picture()}\n\n{END}{after}"


if __name__ == "__main__":
    (ROOT / "CONTRIBUTING.md").write_text(drawn(), encoding="utf-8")
