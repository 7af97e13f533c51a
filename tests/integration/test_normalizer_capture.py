"""Recordings become DBN files that Databento's own reader opens, byte for byte the same each time."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import databento
import pytest

from penstock.cli.capture import rest_channel
from penstock.cli.normalize import normalize_capture
from penstock.errors import ConfigError

T0 = 1_723_075_200
INFO_URL = "https://api.binance.com/api/v3/exchangeInfo"
TRADES = [("61000.01", "0.00150"), ("61000.02", "1.00000"), ("60999.99", "0.00001")]


def instruments(*symbols: str) -> dict:
    return {
        "timezone": "UTC", "serverTime": 1, "rateLimits": [], "exchangeFilters": [],
        "symbols": [
            {
                "symbol": symbol, "status": "TRADING", "baseAsset": symbol[:3], "quoteAsset": symbol[3:],
                "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": [],
                "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"],
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
                    {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.00", "stepSize": "0.00001"},
                ],
            }
            for symbol in symbols
        ],
    }  # fmt: skip


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def opened(path: Path | str) -> databento.DBNStore:
    # from_file leaves its file open, which the tests take for the error it would be in our own code.
    return databento.DBNStore.from_bytes(Path(path).read_bytes())


def trade(number: int, price: str, quantity: str) -> dict:
    data = {
        "e": "trade", "E": T0 * 1000 + number, "s": "BTCUSDT", "t": number, "p": price, "q": quantity,
        "T": T0 * 1000 + number, "m": False, "M": True,
    }  # fmt: skip
    return {"stream": "btcusdt@trade", "data": data}


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A recording of one connection, with its instrument list, three trades and a frame that is cut off."""
    lines = [f"{INFO_URL} -> {T0}.0: {compact(instruments('BTCUSDT', 'ETHUSDT'))}"]
    for number, (price, quantity) in enumerate(TRADES, 1):
        lines.append(f"{T0 + number}.5: {compact(trade(number, price, quantity))}")
    lines.append(f'{T0 + 9}.5: {{"stream":"btcusdt@trade","data":{{"e":"tra')
    folder = tmp_path / "capture"
    folder.mkdir()
    (folder / "BINANCE.0").write_text(lines[0] + "\n")
    (folder / "BINANCE.ws.1.0").write_text("\n".join([f"wss://stream.binance.com:9443 <-> {T0}.0", *lines[1:]]) + "\n")
    return folder


def test_the_account_is_exact_and_the_files_open_in_databento(capture, tmp_path):
    """Frames in are data, control and quarantined; symbols, prices and lots read back through Databento's reader and the
    quantities sum to the recording's."""
    summary = normalize_capture([capture], "binance_spot", tmp_path / "out" / "day.dbn.zst")
    assert (summary.frames, summary.data, summary.control, sum(summary.quarantined.values())) == (5, 4, 0, 1)
    assert list(summary.refusals) == list(summary.quarantined)
    assert (summary.records["TRADES"], summary.records["DEFINITION"]) == (3, 2)
    assert json.loads(json.dumps(summary.as_dict()))["frames"] == 5
    store = opened(tmp_path / "out" / "day.trades.dbn.zst")
    assert (store.metadata.dataset, store.metadata.symbols, str(store.schema)) == (
        "BINANCE.SPOT",
        ["BTCUSDT"],
        "trades",
    )
    trades = store.to_df(price_type="decimal")
    assert list(trades["symbol"]) == ["BTCUSDT"] * 3
    assert list(trades["price"]) == [Decimal(price) for price, _ in TRADES]
    definitions = opened(tmp_path / "out" / "day.definition.dbn.zst").to_df(price_type="decimal")
    lot = definitions.set_index("raw_symbol").loc["BTCUSDT", "unit_of_measure_qty"]
    assert sum(int(size) * Decimal(str(lot)) for size in trades["size"]) == sum(Decimal(size) for _, size in TRADES)


def test_the_same_recording_gives_the_same_bytes(capture, tmp_path):
    """Twice normalized, every file has the same SHA-256."""
    once = normalize_capture([capture], "binance_spot", tmp_path / "a.dbn.zst")
    again = normalize_capture([capture], "binance_spot", tmp_path / "b.dbn.zst")
    assert [output.sha256 for output in once.outputs] == [output.sha256 for output in again.outputs]
    assert len(once.outputs) >= 2
    assert sorted(path.name for path in tmp_path.glob("a.*")) == [Path(output.path).name for output in once.outputs]


def test_definitions_may_come_from_a_file_of_their_own(capture, tmp_path):
    """A REST body or another recording serves where the recording has no instrument list; it is not counted as frames."""
    listed, body = tmp_path / "listed", tmp_path / "info.json"
    (capture / "BINANCE.0").rename(listed)
    body.write_text(json.dumps(instruments("BTCUSDT"), indent=1))
    without = normalize_capture([capture], "binance_spot", None)
    assert without.definitions == "binance_spot's offline definitions"
    for definitions in (listed, body):
        summary = normalize_capture([capture], "binance_spot", None, definitions)
        assert (summary.frames, summary.records["TRADES"], summary.outputs) == (4, 3, ())
        assert summary.definitions == repr(str(definitions))


def test_what_cannot_work_is_said_before_anything_is_written(capture, tmp_path):
    """A wrong output name, an unknown provider and a definitions file that is none are configuration errors."""
    with pytest.raises(ConfigError, match="--output"):
        normalize_capture([capture], "binance_spot", tmp_path / "x.csv")
    with pytest.raises(ConfigError, match="provider is"):
        normalize_capture([capture], "nope", None)
    with pytest.raises(ConfigError, match="--definitions"):
        normalize_capture([capture], "binance_spot", None, tmp_path / "absent")


@pytest.mark.parametrize(
    ("url", "channel"),
    [
        (INFO_URL, "rest/exchangeInfo"),
        ("https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000", "rest/depth/BTCUSDT"),
        (
            "https://www.deribit.com/api/v2/public/get_instruments?currency=BTC&expired=false",
            "rest/get_instruments/BTC",
        ),
        ("https://api.coinbase.com/api/v3/brokerage/market/products/", "rest/products"),
    ],
)
def test_rest_answers_are_named_as_sessions_name_them(url, channel):
    """`rest/`, the last word of the path, and the symbol asked for."""
    assert rest_channel(url) == channel


@pytest.mark.parametrize(
    ("provider", "names", "definitions", "frames"),
    [
        ("deribit", ["deribit/cryptofeed-2021-07"], None, 140),
        ("deribit", ["deribit/cryptofeed-2021-04-05"], "deribit/cryptofeed-2021-07/DERIBIT.0.gz", 461),
        ("coinbase_advanced", ["coinbase/cryptofeed-2026-08"], None, 1031),
        ("binance_spot", ["binance_spot/cryptofeed-2021-08"], None, 1008),
        ("binance_spot", ["binance_spot/cryptofeed-2021-10"], None, 270),
    ],
)
def test_recordings_of_real_venues_lose_nothing(fixtures, tmp_path, provider, names, definitions, frames):
    """Every frame is accounted for and none is refused; each file opens with all its records."""
    summary = normalize_capture(
        [fixtures / name for name in names],
        provider,
        tmp_path / "x.dbn.zst",
        fixtures / definitions if definitions else None,
    )
    assert (summary.frames, summary.data + summary.control, summary.quarantined) == (frames, frames, {})
    for output in summary.outputs:
        store = opened(output.path)
        assert (str(store.schema), sum(1 for _ in store)) == (output.schema, output.records)
        assert store.metadata.symbols
