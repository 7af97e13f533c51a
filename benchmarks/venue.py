"""A venue for the latency benchmark: Binance's wire protocol with one channel of trades at a steady rate."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiohttp import web

TICK_S = 0.002
SYMBOL = {
    "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
    ],
}  # fmt: skip


async def _info(_request: web.Request) -> web.Response:
    return web.json_response({"timezone": "UTC", "serverTime": 0, "symbols": [SYMBOL]})


async def _depth(_request: web.Request) -> web.Response:
    return web.json_response({"lastUpdateId": 1, "bids": [["60000.00", "1.0"]], "asks": [["60001.00", "1.0"]]})


async def _stream(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    pump: asyncio.Task[None] | None = None
    async for message in socket:
        call = json.loads(message.data)
        await socket.send_str(json.dumps({"result": None, "id": call.get("id")}))
        if pump is None and call.get("method") == "SUBSCRIBE":
            pump = asyncio.create_task(_pump(socket, request.app["rate"]))
    if pump is not None:
        pump.cancel()
    return socket


async def _pump(socket: web.WebSocketResponse, rate: int) -> None:
    sent, began = 0, time.monotonic()
    while not socket.closed:
        due = int((time.monotonic() - began) * rate)
        ms = time.time_ns() // 1_000_000
        for i in range(sent, due):
            await socket.send_str(
                '{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"%d.%02d000000",'
                '"q":"0.%05d000","T":%d,"m":%s,"M":true}}'
                % (ms, 5_000_000_000 + i, 60000 + i % 97, i % 100, 1 + i % 99999, ms, "true" if i % 2 else "false")
            )
        sent = due
        await asyncio.sleep(TICK_S)


async def main(rate: int) -> None:
    app = web.Application()
    app["rate"] = rate
    app.router.add_get("/api/v3/exchangeInfo", _info)
    app.router.add_get("/api/v3/depth", _depth)
    app.router.add_get("/stream", _stream)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    urls = {"stream": f"ws://127.0.0.1:{port}", "rest": f"http://127.0.0.1:{port}"}
    print(json.dumps({"event": "listening", "providers": {"binance_spot": urls}}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
