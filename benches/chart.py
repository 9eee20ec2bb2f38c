"""Charts as SVG, without a library: bars on a logarithmic scale, and lines."""

import math
from html import escape

INK, PALE, OURS, OTHER = "#1f2933", "#d9dee4", ("#0b7285", "#66b2be"), ("#7b8794", "#c5ced6")
COLOURS = ["#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#868e96", "#f08c00", "#1864ab", "#495057"]


def duration(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            value = ns / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{ns:.0f} ns"


class Picture:
    def __init__(self, width, height, title, note):
        self.width, self.parts = width, []
        self.parts += [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="system-ui, Helvetica, Arial, sans-serif" font-size="13">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]
        self.text(20, 30, title, size=17, weight=600)
        self.text(20, 50, note, fill="#616e7c")

    def text(self, x, y, text, anchor="start", size=13, weight=400, fill=INK):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
        )

    def line(self, x1, y1, x2, y2, stroke=PALE, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}"/>')

    def rect(self, x, y, width, height, fill):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}" rx="2" fill="{fill}"/>')

    def svg(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


class Scale:
    """Maps a value to a place, on a logarithmic scale."""

    def __init__(self, values, start, end):
        self.low = math.floor(math.log10(min(values)) + 1e-9)
        self.high = max(math.ceil(math.log10(max(values)) - 1e-9), self.low + 1)
        self.start, self.end = start, end

    def __call__(self, value):
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def decades(self):
        return [10.0**power for power in range(self.low, self.high + 1)]


def bars(title, note, rows, series):
    """`rows`: (label, is ours, [statistics or None, one for each of `series`]). Shorter is better; the line shows the quartiles."""
    thick, left, right, top = 13, 230, 80, 92
    step = thick * len(series) + 12
    width, height = 800, top + step * len(rows) + 34
    picture = Picture(width, height, title, note)
    medians = [stat["median"] for _, _, stats in rows for stat in stats if stat]
    scale = Scale(medians, left, width - right)
    for decade in scale.decades():
        picture.line(scale(decade), top - 8, scale(decade), height - 30)
        picture.text(scale(decade), height - 12, duration(decade), "middle", fill="#616e7c")
    for i, name in enumerate(series):
        picture.rect(left + 110 * i, 62, 12, 12, OTHER[i])
        picture.text(left + 110 * i + 18, 73, name)
    y = top
    for label, is_ours, stats in rows:
        picture.text(left - 10, y + thick * len(series) / 2 + 5, label, "end", weight=700 if is_ours else 400)
        for i, stat in enumerate(stats):
            if stat:
                fill = (OURS if is_ours else OTHER)[i]
                end = scale(stat["median"])
                picture.rect(left, y + i * thick, end - left, thick - 1, fill)
                middle = y + i * thick + thick / 2
                picture.line(scale(max(stat["q1"], 10**scale.low)), middle, scale(min(stat["q3"], 10**scale.high)), middle, INK)
                picture.text(max(end, scale(min(stat["q3"], 10**scale.high))) + 6, middle + 4.5, duration(stat["median"]), size=11)
        y += step
    return picture.svg()


def lines(title, note, panels, sizes):
    """`panels`: (heading, logarithmic, format, {label: {size: value}}), side by side over the same sizes."""
    width, height, top, bottom = 900, 420, 100, 70
    picture = Picture(width, height, title, note)
    labels = list(dict.fromkeys(label for *_, rows in panels for label in rows))
    colour = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    each = (width - 200) / len(panels)
    for number, (heading, logarithmic, form, rows) in enumerate(panels):
        left, right = 70 + number * each, number * each + each - 10
        picture.text(left, 80, heading, weight=600)
        across = lambda size: left + sizes.index(size) / (len(sizes) - 1) * (right - left)
        values = [value for row in rows.values() for value in row.values() if value > 0]
        if logarithmic:
            down = Scale(values, height - bottom, top)
            ticks = down.decades()
        else:
            down = lambda value: height - bottom - value * (height - bottom - top)
            ticks = [0, 0.25, 0.5, 0.75, 1]
        for tick in ticks:
            picture.line(left, down(tick), right, down(tick))
            picture.text(left - 8, down(tick) + 4, form(tick), "end", size=11, fill="#616e7c")
        for size in sizes:
            picture.text(across(size), height - bottom + 20, size, "middle", size=11, fill="#616e7c")
        picture.text((left + right) / 2, height - bottom + 40, "processes", "middle", size=11, fill="#616e7c")
        for label, row in rows.items():
            points = [(across(size), down(row[size])) for size in sizes if row.get(size, 0) > 0 or size in row and not logarithmic]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            thick = 3 if label.startswith("lockfolder") and "Python" not in label else 1.5
            picture.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour[label]}" stroke-width="{thick}"/>')
            picture.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{thick}" fill="{colour[label]}"/>' for x, y in points]
    for i, label in enumerate(labels):
        picture.rect(width - 190, 104 + 22 * i, 12, 12, colour[label])
        picture.text(width - 172, 115 + 22 * i, label, size=12)
    return picture.svg()
