"""What a picture of an alert costs: CPU, bytes and memory, drawn by Pillow, as alerts have it, and by matplotlib.

    python benchmarks/pictures.py

Each library draws in a process of its own, so that its memory is told apart.
"""

import json
import statistics
import subprocess
import sys
import time
from io import BytesIO
from random import Random

import psutil

from processors.alerts.pictures.chart import HEIGHT, WIDTH, Chart, draw

ROUNDS = 40
FIRST = 29_540_000


def chart() -> Chart:
    """Ninety minutes of which the last seven spike."""
    rng = Random(1)
    counts = {FIRST + minute: rng.randrange(15) for minute in range(83)}
    counts |= {FIRST + minute: 90 + 12 * (minute - 83) for minute in range(83, 90)}
    return Chart(counts, FIRST, FIRST + 89, FIRST + 83, FIRST + 89, 7.3, "comments and posts")


def draw_with_matplotlib(content: Chart) -> bytes:
    """Draws the same with matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, layout="tight")
    axes = figure.subplots()
    axes.axvspan(content.begins, content.ends + 1, color="#ffe3bf")
    minutes = range(content.first, content.last + 1)
    axes.step(minutes, [content.counts.get(minute, 0) for minute in minutes], where="post")
    axes.axhline(content.usual, linestyle="dashed")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def measure(library: str) -> dict[str, float]:
    """Returns milliseconds of CPU of a picture, its bytes, and megabytes by which the process grew."""
    make = draw if library == "pillow" else draw_with_matplotlib
    process, content = psutil.Process(), chart()
    before = process.memory_info().rss
    seconds: list[float] = []
    picture = b""
    for _ in range(ROUNDS):
        began = time.process_time()
        picture = make(content)
        seconds.append(time.process_time() - began)
    grown = (process.memory_info().rss - before) / 1e6
    return {"first": seconds[0] * 1e3, "each": statistics.median(seconds) * 1e3, "bytes": len(picture), "memory": grown}


def main() -> None:
    print(f"{'library':<12}{'first, ms':>10}{'each, ms':>10}{'bytes':>8}{'memory, MB':>12}")
    for library in ("pillow", "matplotlib"):
        done = subprocess.run([sys.executable, __file__, library], capture_output=True, text=True, check=True)
        row = json.loads(done.stdout)
        print(f"{library:<12}{row['first']:>10.0f}{row['each']:>10.0f}{row['bytes']:>8}{row['memory']:>12.0f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
