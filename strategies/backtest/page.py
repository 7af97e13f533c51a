"""The results of a backtest as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Final

from nautilus_trader.config import StrategyConfig

from strategies.backtest import charts
from strategies.backtest.assumptions import assumptions
from strategies.backtest.ledger import Account, Fill
from strategies.backtest.numbers import Unit, lasting, plain, utc
from strategies.backtest.quality import Quality
from strategies.backtest.run import Outcome

_STYLE: Final = Path(__file__).with_name("page.css")
_ROWS: Final = 400
_TALL, _LOW = 250, 120
_DIGITS: Final = 5
_KEY: Final = (
    '<p class="key"><b class="up">▲</b> bought &nbsp; <b class="down">▼</b> sold &nbsp; point at a mark for its fill. '
    "The line is the middle of the best bid and ask, or trades where there were no quotes.</p>"
)


class Page:
    """Builds the page of one outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._results = outcome.results
        self._span = (outcome.window.start, outcome.window.end)
        self._traded = [account for account in self._results.accounts if account.fills]

    def html(self) -> str:
        """The whole page."""
        parts = [
            self._head(), self._tiles(), self._quality_note(), self._curves(), self._prices(), self._instruments(),
            self._fills(), self._quality(), self._assumptions(), self._seen(),
        ]  # fmt: skip
        title = escape(f"{self._outcome.strategy}: backtest")
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>\n{_STYLE.read_text('utf-8')}</style></head>\n<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
        )

    def _head(self) -> str:
        start, end = self._span
        names = ", ".join(account.instrument for account in self._results.accounts)
        when = f"{utc(start)} to {utc(end)} UTC ({lasting(end - start)})"
        return (
            f"<header><h1>{escape(self._outcome.strategy)}</h1>"
            f'<p class="soft">Backtest · {when} · {escape(names)}</p></header>'
        )

    def _tiles(self) -> str:
        tiles = []
        for currency in self._currencies():
            mine = [account for account in self._results.accounts if account.currency == currency]
            net = sum((account.net for account in mine), Decimal(0))
            fees = sum((account.fees for account in mine), Decimal(0))
            fall = min((value for _, value in self._results.drawdown(currency)), default=Decimal(0))
            unit = Unit.of(currency, (net, fees, fall))
            detail = f"fees {plain(unit.part(fees))}, deepest fall {plain(unit.part(fall))} {unit.name}"
            tiles.append(
                f'<div class="tile"><div class="what">Net result, after fees</div><div class="much">'
                f"{_coloured(net, unit)} <small>{escape(unit.name)}</small></div>"
                f'<div class="what">{escape(detail)}</div></div>'
            )
        fills = sum(len(account.fills) for account in self._traded)
        orders = self._results.orders
        lost = {word: orders[word] for word in ("rejected", "denied", "canceled", "expired") if orders[word]}
        detail = ", ".join(f"{count:,} {word}" for word, count in lost.items()) or "none refused, none left over"
        tiles.append(
            f'<div class="tile"><div class="what">Orders and fills</div><div class="much">{orders["submitted"]:,}'
            f' <small>orders</small> {fills:,} <small>fills</small></div><div class="what">{detail}</div></div>'
        )
        return f'<section class="tiles">{"".join(tiles)}</section>'

    def _currencies(self) -> list[str]:
        traded = {account.currency for account in self._traded}
        return [currency for currency in self._results.currencies if currency in traded]

    def _quality_note(self) -> str:
        bad = [quality for quality in self._outcome.quality if not quality.clean]
        said = "; ".join(f"{quality.name}: {quality.sentence}" for quality in bad)
        return f'<p class="note">Data quality: {escape(said)}. See below.</p>' if bad else ""

    def _curves(self) -> str:
        cards = []
        for currency in self._currencies():
            equity = [(ts, float(value)) for ts, value in self._results.equity(currency)]
            fall = [(ts, float(value)) for ts, value in self._results.drawdown(currency)]
            unit = Unit.of(currency, (value for _, value in self._results.equity(currency)))
            factor, name = float(unit.factor), escape(unit.name)
            upper = charts.frame(self._span, [v * factor for _, v in equity], _TALL, zero=True)
            lower = charts.frame(self._span, [v * factor for _, v in fall], _LOW, zero=True)
            cards.append(
                f'<div class="card"><h3>Equity <small>net, {name}; open positions at the last price</small></h3>'
                f"{charts.line(upper, [(t, v * factor) for t, v in equity], f'Equity in {unit.name}')}"
                f"<h3>Drawdown <small>below the highest equity so far, {name}</small></h3>"
                f"{charts.line(lower, [(t, v * factor) for t, v in fall], f'Drawdown in {unit.name}', kind='area')}</div>"
            )
        nothing = '<div class="card">No order was filled, so there is no equity to draw.</div>'
        return f"<section><h2>Equity and drawdown</h2>{''.join(cards) or nothing}</section>"

    def _prices(self) -> str:
        cards = []
        for account in self._traded:
            points = [(ts, float(value)) for ts, value in account.prices.points]
            values = [value for _, value in points] + [float(fill.price) for fill in account.fills]
            box = charts.frame(self._span, values, _TALL, zero=False)
            marks = [
                charts.Mark(f.ts, float(f.price), "buy" if f.buy else "sell", _told(account, f)) for f in account.fills
            ]
            cards.append(
                f'<div class="card"><h3>{escape(account.instrument)} <small>price in {escape(account.quote)}, '
                f"{len(account.fills):,} fills</small></h3>"
                f"{charts.line(box, points, f'Price and fills of {account.instrument}', marks=marks)}</div>"
            )
        return f"<section><h2>Fills on price</h2>{_KEY}{''.join(cards)}</section>" if cards else ""

    def _instruments(self) -> str:
        rows = []
        for a in self._results.accounts:
            unit = Unit.of(a.currency, (a.realized, a.unrealized, a.fees, a.net))
            rows.append(
                [
                    escape(a.instrument), f"{len(a.fills):,}", _unit(plain(a.turnover, _DIGITS), a.currency),
                    _unit(plain(a.position), a.unit), unit.text(a.realized), unit.text(a.unrealized),
                    plain(unit.part(a.fees)), _coloured(a.net, unit), escape(unit.name),
                ]
            )  # fmt: skip
        heads = ["Instrument", "Fills", "Turnover", "Position at the end", "Realized", "Open", "Fees", "Net", "In"]
        return (
            f'<section><h2>By instrument</h2><div class="card wide">{_table(heads, rows, text=(0, 8))}</div></section>'
        )

    def _fills(self) -> str:
        every = sorted(((fill, account) for account in self._traded for fill in account.fills), key=lambda x: x[0].ts)
        if not every:
            return ""
        units = {a.currency: Unit.of(a.currency, _amounts(self._traded, a.currency)) for a in self._traded}
        rows = [
            [
                utc(f.ts, "%m-%d %H:%M:%S.%f")[:-3], escape(f.instrument), "bought" if f.buy else "sold",
                _unit(plain(f.quantity), a.unit), _unit(plain(f.price), a.quote), "maker" if f.maker else "taker",
                _unit(plain(units[a.currency].part(f.fee)), units[a.currency].name), _unit(plain(f.position), a.unit),
                _unit(units[a.currency].text(f.realized), units[a.currency].name),
            ]
            for f, a in every[-_ROWS:]
        ]  # fmt: skip
        heads = ["Time (UTC)", "Instrument", "Side", "Quantity", "Price", "Role", "Fee", "Position after", "Realized"]
        more = f' <span class="soft">the last {_ROWS:,} of {len(every):,}</span>' if len(every) > _ROWS else ""
        table = _table(heads, rows, text=(0, 1, 2, 5))
        return f'<section><h2>Trades{more}</h2><div class="card wide long">{table}</div></section>'

    def _quality(self) -> str:
        rows = [
            [escape(q.provider), q.day, *(_reported(q) if q.reported else ["?"] * 6), escape(q.sentence)]
            for q in self._outcome.quality
        ]
        heads = [
            "Provider",
            "Day",
            "Frames",
            "By one lane only",
            "Gaps",
            "Uncovered",
            "Holes",
            "Refused",
            "Known to be missing",
        ]
        worst = [(q.provider, gap) for q in self._outcome.quality for gap in q.uncovered][:8]
        told = "".join(
            f'<p class="note">{escape(provider)} {escape(gap.channel)}: no lane received it from {utc(gap.start)} for '
            f"{lasting(gap.end - gap.start)}</p>"
            for provider, gap in worst
        )
        return (
            f'<section><h2>Data quality</h2>{told}<div class="card wide">{_table(heads, rows, text=(0, 1, 8))}'
            "<p class=key>From the completeness reports. Gaps (in the venue's own numbering) and uncovered time are those "
            "within the window, the rest is of the whole day. A frame that only one lane brought is in the data once, "
            "as all are.</p>"
            "</div></section>"
        )

    def _assumptions(self) -> str:
        rows = "".join(f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in assumptions(self._outcome))
        return f'<section><h2>How orders were filled</h2><div class="card"><dl>{rows}</dl></div></section>'

    def _seen(self) -> str:
        outcome = self._outcome
        kinds = ("trade", "quote", "book", "marker", "signal")
        counts = {kind: sum(n for key, n in outcome.seen.items() if key.startswith(f"{kind} ")) for kind in kinds}
        seen = ", ".join(f"{count:,} {kind}{'s' if count != 1 else ''}" for kind, count in counts.items() if count)
        refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(outcome.refused.items())) or "nothing"
        rows = {
            "Digest": f"<code>{outcome.digest}</code> over {escape(seen or 'nothing')} the strategy saw or gave",
            "Not made into objects": escape(refused),
            "Settings": f"<code>{escape(_settings(outcome))}</code>",
            "Source": f"<code>{escape(outcome.source)}</code>",
        }
        listed = "".join(f"<dt>{word}</dt><dd>{text}</dd>" for word, text in rows.items())
        return f'<section><h2>What the strategy saw</h2><div class="card"><dl>{listed}</dl></div></section>'


def _amounts(accounts: Sequence[Account], currency: str) -> Iterator[Decimal]:
    for account in accounts:
        if account.currency == currency:
            for fill in account.fills:
                yield from (fill.fee, fill.realized)


def _reported(quality: Quality) -> list[str]:
    uncovered = sum(gap.end - gap.start for gap in quality.uncovered)
    return [
        f"{quality.frames:,}", f"{quality.alone:,}", f"{quality.gaps:,}", lasting(uncovered) if uncovered else "0",
        f"{quality.holes:,}", f"{quality.quarantined:,}",
    ]  # fmt: skip


def _told(account: Account, fill: Fill) -> str:
    return (
        f"{utc(fill.ts, '%Y-%m-%d %H:%M:%S.%f')[:-3]} UTC: {'bought' if fill.buy else 'sold'} {plain(fill.quantity)} "
        f"{account.unit} at {plain(fill.price)} {account.quote}, fee {plain(fill.fee)} {account.currency}, "
        f"position {plain(fill.position)}"
    )


def _settings(outcome: Outcome) -> str:
    # The strategy's own: what every strategy of Nautilus has besides is at its defaults, and the instruments stand above.
    common = {"instrument_ids", *StrategyConfig.__struct_fields__}
    return ", ".join(f"{name}={value}" for name, value in outcome.parameters.items() if name not in common) or "none"


def _unit(amount: str, unit: str) -> str:
    return f"{amount} <small>{escape(unit)}</small>"


def _coloured(amount: Decimal, unit: Unit) -> str:
    word = "up" if amount > 0 else "down" if amount < 0 else ""
    return f'<span class="{word}">{unit.text(amount)}</span>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int]) -> str:
    def cells(word: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{word}{' class=text' if index in text else ''}>{value}</{word}>" for index, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"
