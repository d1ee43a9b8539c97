"""The table as Markdown."""

from datetime import datetime, timezone

from .rounds import AGAIN, FIRST, median

BEGIN, END = "<!-- symbolize: begin -->", "<!-- symbolize: end -->"


def thousands(figure):
    return f"{figure:,.0f}".replace(",", " ")


def whole(figure):
    return f"{figure:.0f}"


def rows(title, rounds, goals):
    """(title, goal, cell of a symbolizer) for one file; `goals` in the order of the rows."""
    results = rounds.results
    of = lambda figures, form: lambda symbolizer: median(figures(results[symbolizer]), form)  # noqa: E731
    frames = lambda symbolizer: f"{results[symbolizer].frames:.2f}" if results[symbolizer].frames else "–"  # noqa: E731
    cells = [
        ("addresses per CPU second, first time", of(lambda r: r.per_second[FIRST], thousands)),
        ("the same, again: other addresses, cache on disk", of(lambda r: r.per_second[AGAIN], thousands)),
        ("peak memory, first time, MB", of(lambda r: r.megabytes[FIRST], whole)),
        ("peak memory, again, MB", of(lambda r: r.megabytes[AGAIN], whole)),
        ("one address, cold, ms", of(lambda r: r.milliseconds_cold, whole)),
        ("frames per address", frames),
    ]
    return [(f"{title}: {name}", goal, cell) for (name, cell), goal in zip(cells, goals)]


def page(symbolizers, lines, machine, failures, command, floor):
    present = [symbolizer for symbolizer in symbolizers if not symbolizer.missing]
    out = [
        BEGIN,
        f"{datetime.now(timezone.utc):%Y-%m-%d}, `{command}`, {machine.minutes:.0f} minutes.  ",
        f"{machine.describe()}.  ",
        "; ".join(f"{label}: {version}" for label, version in machine.versions.items()) + ".",
        "",
        "| | goal | " + " | ".join(symbolizer.label for symbolizer in present) + " |",
        "| --- | --- |" + " --- |" * len(present),
    ]
    for title, goal, cell in lines:
        out.append(f"| {title} | {goal} | " + " | ".join(cell(symbolizer) for symbolizer in present) + " |")
    out += ["", f"Median [least, most] where there was more than one round. Memory below {floor:.0f} MB cannot be seen. Settings:", ""]
    out += [f"- {symbolizer.label}: {symbolizer.missing or symbolizer.settings()}" for symbolizer in symbolizers]
    if failures:
        out += ["", "What went wrong in this run:", ""] + [f"- {failure}" for failure in dict.fromkeys(failures)]
    return "\n".join(out + [END])
