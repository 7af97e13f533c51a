"""The completeness report for people: one HTML file that needs nothing else, with a heat map of channels × hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from penstock.payloads import REST
from penstock.timestamps import NS_PER_S
from services.post_processor.hourly import HOUR_NS, Cell

_STYLE: Final = Path(__file__).with_name("page.css")
_MOST_ROWS: Final = 600
_MOST_GAPS: Final = 100
_WORSE: Final = ("silent", "whole", "alone", "filled", "missing")
_KEY: Final = (
    ("whole", "both lanes had every message"), ("alone", "one lane lacked some, the other filled them"),
    ("filled", "both lacked trades, REST filled them"), ("missing", "still missing: a gap, or time that no lane covered"),
    ("silent", "nothing known"),
)  # fmt: skip
_FIRST, _NEXT, _LATER = NS_PER_S, 60 * NS_PER_S, HOUR_NS


def page(report: dict[str, Any], rows: Sequence[Cell], start: int) -> str:
    """The whole page of a report whose `rows` are hourly.cells; `start` is the day's, UNIX ns."""
    title = f"{report['provider']} {report['day']}: completeness"
    parts = [_head(report), _tiles(report, rows), _notes(report), _map(rows), _gaps(report, start), _records(report)]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>\n{_STYLE.read_text('utf-8')}</style></head>\n<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
    )


def lasting(ns: int) -> str:
    """A duration in the two words that matter."""
    if ns < _FIRST:
        return f"{ns / 1e6:.0f} ms"
    if ns < _NEXT:
        return f"{ns / 1e9:.1f} s"
    if ns < _LATER:
        return f"{ns // _NEXT} min {ns % _NEXT // NS_PER_S} s"
    return f"{ns // _LATER} h {ns % _LATER // _NEXT} min"


def _head(report: dict[str, Any]) -> str:
    return (
        f"<header><h1>{escape(report['provider'])}</h1><p class=soft>Completeness of {report['day']} (UTC) · "
        f"{report['frames']:,} frames normalized · {len(report['channels']):,} channels</p></header>"
    )


def _tiles(report: dict[str, Any], rows: Sequence[Cell]) -> str:
    merged, alone = sum(row.merged for row in rows), sum(row.alone for row in rows)
    filled, gaps = sum(row.filled for row in rows), len(report["gaps"])
    uncovered = max(
        (sum(gap["end"] - gap["start"] for gap in one["uncovered"]) for one in report["channels"]), default=0
    )
    refused = sum(report["quarantined"].values())
    share = f"{alone / merged:.2%} of them" if merged else "none"
    tiles = [
        ("Messages", f"{merged:,}", "each once, of both lanes", False),
        ("Filled by the other lane", f"{alone:,}", f"{share}; one lane alone had them", False),
        ("Filled by REST", f"{filled:,} <small>trades</small>", "neither lane had them", False),
        ("Gaps left", f"{gaps:,}", "in the venue's own numbering", gaps > 0),
        (
            "Longest uncovered",
            lasting(uncovered) if uncovered else "none",
            "of any channel, by both lanes",
            uncovered > 0,
        ),
        ("Refused frames", f"{refused:,}", _listed(report["quarantined"]), refused > 0),
    ]
    shown = "".join(
        f'<div class="tile{" bad" if bad else ""}"><div class="what">{what}</div><div class="much">{much}</div>'
        f'<div class="what">{escape(detail)}</div></div>'
        for what, much, detail, bad in tiles
    )
    return f'<section class="tiles">{shown}</section>'


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in counts.items()) or "none could not be understood"


def _notes(report: dict[str, Any]) -> str:
    silent = [hole for hole in report["holes"] if not hole["declared"]]
    if not silent:
        return ""
    lost = sum(hole["last"] - hole["first"] + 1 for hole in silent)
    return (
        f'<p class="note">{lost:,} envelopes in {len(silent):,} holes never reached a batch processor, and no session '
        "manager said that it dropped them: a fault of the path between them. What the other lane had is filled.</p>"
    )


def _map(rows: Sequence[Cell]) -> str:
    by_channel = {key: list(found) for key, found in groupby(rows, lambda row: (row.schema, row.channel))}
    channels = list(by_channel.items())
    note = ""
    if len(channels) > _MOST_ROWS:
        channels.sort(key=lambda item: -max(_WORSE.index(row.state) for row in item[1]))
        note = f'<p class="note">The {_MOST_ROWS:,} worst of {len(channels):,} channels; the Parquet table has all.</p>'
        channels = channels[:_MOST_ROWS]
    # What is asked for over REST comes last: it is polled, and no instrument's stream.
    channels.sort(key=lambda item: (item[0][1].startswith(REST), item[0]))
    hours = "".join(f"<th>{hour:02d}</th>" for hour in range(24))
    lines = [f'<tr><th class="name"></th>{hours}<th class="sum">messages</th></tr>']
    for group, members in groupby(channels, lambda item: "REST answers" if item[0][1].startswith(REST) else item[0][0]):
        lines.append(f'<tr><th class="group" colspan="26">{escape(group)}</th></tr>')
        lines += [_line(channel, found) for (_, channel), found in members]
    key = "".join(f'<span><i class="{word}"></i>{escape(text)}</span>' for word, text in _KEY)
    return (
        f'<section><h2>Channels by hour <span class="soft">UTC; point at a cell for its figures</span></h2>{note}'
        f'<div class="card"><table class="map">{"".join(lines)}</table><div class="key">{key}</div></div></section>'
    )


def _line(channel: str, rows: Sequence[Cell]) -> str:
    of_hour = {row.hour: row for row in rows}
    cells = "".join(_square(of_hour.get(hour)) for hour in range(24))
    name = escape(channel, quote=True)
    total = sum(row.merged for row in rows)
    return f'<tr><td class="name" title="{name}">{name}</td>{cells}<td class="sum">{total:,}</td></tr>'


def _square(row: Cell | None) -> str:
    if row is None:
        return '<td class="c silent"></td>'
    told = [f"{row.hour:02d}:00 {row.merged:,} messages", f"both lanes {row.both:,}"]
    told += [f"PRIMARY alone {row.primary_only:,}"] * bool(row.primary_only)
    told += [f"REPLICA alone {row.replica_only:,}"] * bool(row.replica_only)
    told += [f"REST {row.filled:,} trades"] * bool(row.filled)
    told += [f"{row.gaps:,} gaps"] * bool(row.gaps)
    told += [f"uncovered {lasting(row.uncovered_ns)}"] * bool(row.uncovered_ns)
    mark = str(row.gaps) if row.gaps and row.gaps < 1000 else "!" if row.state == "missing" else ""
    return f'<td class="c {row.state}" title="{escape(", ".join(told), quote=True)}">{mark}</td>'


def _gaps(report: dict[str, Any], start: int) -> str:
    found = [
        (gap["ts_event"], gap["channel"], f"{gap['reason']}: expected {gap['expected']}, got {gap['got']}")
        if gap["expected"] or gap["got"]
        else (gap["ts_event"], gap["channel"], gap["reason"])
        for gap in report["gaps"]
    ]
    found += [
        (gap["start"], channel["channel"], f"no lane covered it for {lasting(gap['end'] - gap['start'])}")
        for channel in report["channels"]
        for gap in channel["uncovered"]
    ]
    if not found:
        return '<section><h2>What is missing</h2><div class="card">Nothing that is known of.</div></section>'
    rows = ([_clock(at - start), escape(channel), escape(what)] for at, channel, what in sorted(found)[:_MOST_GAPS])
    more = f' <span class="soft">the first {_MOST_GAPS} of {len(found):,}</span>' if len(found) > _MOST_GAPS else ""
    table = _table(["Time (UTC)", "Channel", "What"], rows, text=(0, 1, 2))
    return f'<section><h2>What is missing{more}</h2><div class="card">{table}</div></section>'


def _clock(ns: int) -> str:
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest // 10**6:03d}"


def _records(report: dict[str, Any]) -> str:
    rows = [[escape(schema), f"{count:,}"] for schema, count in report["records"].items()]
    table = _table(["Schema", "Records"], rows, text=(0,))
    return f'<section><h2>Canonical records</h2><div class="card">{table}</div></section>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int]) -> str:
    def cells(word: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{word}{' class=text' if index in text else ''}>{value}</{word}>" for index, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"
