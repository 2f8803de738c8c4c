"""Draws the pictures of docs/concepts.md as SVG files beside this script.

python docs/pictures/draw.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path

HERE = Path(__file__).parent
STYLE = """\
text { font: 14px system-ui, sans-serif; fill: #1f2933 }
.small { font-size: 12px; fill: #52606d }
.strong { font-weight: 600 }
.box { fill: #f5f7fa; stroke: #7b8794; stroke-width: 1.5 }
.on { fill: #c6f0d8; stroke: #2f855a; stroke-width: 1.5 }
.off { fill: #fbd5d5; stroke: #c53030; stroke-width: 1.5 }
.wait { fill: #fdf0c4; stroke: #b7791f; stroke-width: 1.5 }
.line { stroke: #52606d; stroke-width: 1.5; fill: none }
.thin { stroke: #9aa5b1; stroke-width: 1; fill: none; stroke-dasharray: 4 4 }
.beat { fill: #2f855a } .lost { fill: #c53030 } .head { fill: #52606d }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb } .small { fill: #9aa5b1 }
  .box { fill: #1f2933 } .on { fill: #1c4532 } .off { fill: #63171b } .wait { fill: #5f370e }
  .line { stroke: #9aa5b1 } .head { fill: #9aa5b1 }
}
"""


class Picture:
    """One SVG file; x and y are pixels from the top left."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size, self._title, self._parts = (width, height), title, [""]

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> None:
        """Write words at a point; kind is a class of the style."""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def box(
        self, x: float, y: float, width: float, height: float, *words: str, kind: str = "box"
    ) -> None:
        """Draw a box with its first line in bold and the others small below it."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
            f' class="{kind}"/>'
        )
        top = y + height / 2 + 5 - 8 * (len(words) - 1)
        for number, line in enumerate(words):
            self.text(x + width / 2, top + 17 * number, line, "small" if number else "strong")

    def line(self, *points: tuple[float, float], kind: str = "line", arrow: bool = False) -> None:
        """Draw lines through the points, with an arrow at the last one where asked."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        end = ' marker-end="url(#arrow)"' if arrow else ""
        self._parts.append(f'<polyline points="{path}" class="{kind}"{end}/>')

    def dot(self, x: float, y: float, kind: str = "beat") -> None:
        """Draw a heartbeat."""
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="5" class="{kind}"/>')

    def svg(self) -> str:
        """Return the whole file."""
        width, height = self._size
        marker = (
            '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
            ' markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" class="head"/></marker>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" role="img">\n'
            f"<title>{escape(self._title)}</title>\n"
            f"<style>\n{STYLE}</style>\n<defs>{marker}</defs>"
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )


def processes() -> Picture:
    """Draw the processes of a node."""
    p = Picture(720, 330, "The processes of a node")
    p.box(20, 20, 460, 290)
    p.text(36, 44, "one machine: coord run -- your-program", "small", "start")
    p.box(150, 60, 200, 60, "guardian", "kills at the deadline")
    p.box(40, 210, 125, 70, "agent", "heartbeats,", "watches, races")
    p.box(185, 210, 125, 70, "spare", "a loaded copy", "of the agent")
    p.box(330, 210, 130, 70, "program", "yours, with all", "that it starts", kind="on")
    for x in (102, 250, 395):
        p.line((250, 120), (250, 165), (x, 165), (x, 209), arrow=True)
    p.box(560, 210, 140, 70, "PostgreSQL", "the only thing", "that nodes share")
    p.line((165, 262), (178, 292), (520, 292), (559, 262), arrow=True)
    p.text(520, 308, "one connection", "small")
    return p


def lease() -> Picture:
    """Draw how heartbeats move the deadline."""
    p = Picture(760, 260, "Lease and deadline of a holder")
    p.text(20, 34, "heartbeats, by the time at which they were sent", "small", "start")
    p.line((20, 60), (740, 60), arrow=True)
    beats = ((60, True), (140, True), (220, True), (300, False), (380, False), (460, False))
    for x, acknowledged in beats:
        p.dot(x, 60, "beat" if acknowledged else "lost")
    p.text(140, 88, "acknowledged", "small")
    p.text(380, 88, "no answer", "small")
    for row, x in enumerate((60, 140, 220)):
        y = 112 + 24 * row
        p.line((x, 60), (x, y), kind="thin")
        p.line((x, y), (x + 360, y), arrow=True)
    p.text(250, 106, "one lease", "small", "start")
    p.line((580, 40), (580, 230), kind="thin")
    p.box(60, 190, 520, 34, "the program runs", kind="on")
    p.box(580, 190, 160, 34, "dead", kind="off")
    words = "the deadline: one lease after the last acknowledged heartbeat was sent"
    p.text(740, 250, words, "small", "end")
    return p


def takeover() -> Picture:
    """Draw a takeover on a time line."""
    p = Picture(780, 300, "A takeover after the holder was cut off")
    p.text(20, 66, "node-1", "strong", "start")
    p.text(20, 176, "node-2", "strong", "start")
    p.box(90, 44, 350, 36, "program, term 7", kind="on")
    p.box(440, 44, 320, 36, "dead", kind="off")
    p.box(90, 154, 470, 36, "standby: sees no new heartbeat", kind="wait")
    p.box(560, 154, 200, 36, "program, term 8", kind="on")
    for x in (110, 150, 190):
        p.dot(x, 110)
    p.line((190, 110), (190, 250), kind="thin")
    p.line((440, 80), (440, 234), kind="thin")
    p.line((560, 190), (560, 266), kind="thin")
    p.text(200, 115, "last heartbeat; the network is cut", "small", "start")
    p.line((190, 218), (438, 218), arrow=True)
    p.text(314, 212, "lease", "small")
    p.line((190, 250), (558, 250), arrow=True)
    p.text(374, 244, "livenessCheckInterval of node-1", "small")
    p.text(500, 285, "room for clocks that run 10 % fast or slow", "small")
    p.line((440, 268), (560, 268))
    return p


def tasks() -> Picture:
    """Draw tasks over nodes before and after a death."""
    p = Picture(760, 300, "Tasks over three nodes, before and after the death of one")
    p.text(20, 30, "before", "strong", "start")
    p.text(400, 30, "after node-2 has died", "strong", "start")
    before = {"node-1": "abc", "node-2": "de", "node-3": "fg"}
    after = {"node-1": "abc", "node-2": "", "node-3": "fg"}
    moved = {"node-1": "d", "node-3": "e"}
    for left, held, new in ((20, before, {}), (400, after, moved)):
        for row, (node, names) in enumerate(held.items()):
            y = 46 + 82 * row
            dead = not names
            p.box(left, y, 340, 66, kind="off" if dead else "box")
            p.text(left + 14, y + 38, node, "strong", "start")
            every = [(name, "on") for name in names] + [(n, "wait") for n in new.get(node, "")]
            for place, (name, kind) in enumerate(every):
                p.box(left + 90 + 60 * place, y + 14, 48, 38, name, kind=kind)
    return p


def warm() -> Picture:
    """Draw a cold standby and a started one."""
    p = Picture(760, 230, "A cold standby and a started one")
    p.line((330, 30), (330, 210), kind="thin")
    p.text(330, 24, "the node takes the token", "small")
    p.text(20, 76, "cold", "strong", "start")
    p.box(330, 52, 200, 38, "starts, connects", kind="wait")
    p.box(530, 52, 210, 38, "works", kind="on")
    p.text(20, 166, "started", "strong", "start")
    p.box(110, 142, 130, 38, "starts", kind="wait")
    p.box(240, 142, 90, 38, "at its gate", kind="wait")
    p.box(330, 142, 410, 38, "works", kind="on")
    p.text(430, 108, "nobody works", "small")
    return p


PICTURES = {draw.__name__: draw for draw in (processes, lease, takeover, tasks, warm)}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / f"{name}.svg").write_text(draw().svg())
