"""The `penstock` command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from penstock.cli import cold
from penstock.errors import ConfigError, ConnectionLost, Terminal

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    help="A streaming market-data pipeline: venues in, DBN on Redis Pub/Sub and S3 out.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Directory = Annotated[Path, typer.Option(help="Where logs, spools, the lake and state go.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Redis = Annotated[str, typer.Option(envvar="PENSTOCK_REDIS", help="redis:// or rediss:// URL.")]
Source = Annotated[str, typer.Option(help="Dataset: a folder, file:// or s3:// URL.")]


@app.command(epilog="Example: `penstock demo --seconds 20 --kill deribit`")
def demo(
    directory: Directory = Path(".penstock/demo"),
    capture: Annotated[
        str, typer.Option(help="Replay this recording (comma-separated files) instead of simulating.")
    ] = "",
    provider: Annotated[str, typer.Option(help="The recording's provider.")] = "",
    providers: Annotated[str, typer.Option(help="Simulated providers.")] = "binance_spot,coinbase_advanced,deribit",
    speed: Annotated[str, typer.Option(help="Replay speed: 1, 10 or max.")] = "1",
    seconds: Annotated[float, typer.Option(min=2, help="How long the simulated market runs.")] = 12.0,
    rate: Annotated[float, typer.Option(min=1, help="Order-book events per second, all venues together.")] = 250.0,
    seed: Annotated[int, typer.Option(help="The market's seed.")] = 1,
    kill: Annotated[
        str, typer.Option(help="Kill this provider's PRIMARY session manager half-way; 'none' for no kill.")
    ] = "deribit",
    as_json: Json = False,
) -> None:
    """Run the whole pipeline on a simulated market or a recording, kill a session half-way, check everything."""
    from penstock.cli.demo import Options, run

    if capture and not provider:
        raise ConfigError("--capture needs --provider, the venue that was recorded")
    if speed not in {"1", "10", "max"}:
        raise ConfigError(f"--speed is {speed!r}, expected 1, 10 or max")
    files = tuple(Path(name) for name in capture.split(",") if name)
    for file in files:
        if not file.exists():
            raise ConfigError(f"--capture is {str(file)!r}: no such file")
    names = (provider,) if capture else _provider_names(providers)
    if kill != "none" and kill not in names:
        kill = "none" if capture else names[0]
    options = Options(
        directory=directory, providers=names, seconds=seconds, rate=rate, seed=seed, kill="" if kill == "none" else kill,
        captures=files, speed=speed, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(run(options, Console(stderr=as_json)))


@app.command(epilog="Example: `penstock drill --rounds 5 --rate 1500`")
def drill(
    directory: Directory = Path(".penstock/drill"),
    rounds: Annotated[int, typer.Option(min=1, help="Faults of each kind.")] = 2,
    both: Annotated[int, typer.Option(min=0, help="Times that both lanes die at once, spread over the rounds.")] = 1,
    rate: Annotated[float, typer.Option(min=1, help="Order-book events per second.")] = 1_000.0,
    seed: Annotated[int, typer.Option(help="The market's seed.")] = 1,
    kinds: Annotated[str, typer.Option(help="Only these faults, such as 'redis kill,normalizer stop'.")] = "",
    hysteresis_s: Annotated[
        float, typer.Option(min=0, help="How long PRIMARY is watched before a book returns.")
    ] = 1.0,
    nautilus: Annotated[bool, typer.Option("--nautilus", help="A real strategy beside the witness.")] = False,
    as_json: Json = False,
) -> None:
    """Kill and freeze parts of the PRIMARY lane, and Redis nodes, under load; say what a subscriber noticed of it."""
    from penstock.cli.failover import KINDS, Options, run

    chosen = tuple(kind for kind in kinds.split(",") if kind)
    if unknown := set(chosen) - set(KINDS):
        raise ConfigError(f"--kinds has {min(unknown)!r}, expected some of {', '.join(KINDS)}")
    options = Options(directory, rounds, both, rate, seed, chosen or KINDS, hysteresis_s, nautilus)
    raise typer.Exit(run(options, Console(stderr=as_json), as_json=as_json))


@app.command(epilog="Example: `penstock up --live deribit,coinbase_advanced`")
def up(
    live: Annotated[str, typer.Option(help="Providers whose real public endpoints to connect to.")],
    directory: Directory = Path(".penstock/up"),
    redis: Annotated[str, typer.Option(envvar="PENSTOCK_REDIS", help="An existing server; else one is started.")] = "",
    symbols: Annotated[str, typer.Option(help="Symbols, for a single provider.")] = "",
    seconds: Annotated[float, typer.Option(help="Stop after this long; 0 runs until interrupted.")] = 0.0,
    discord_webhook_env: Annotated[
        str, typer.Option(metavar="NAME", help="Tell failures to the Discord webhook in this environment variable.")
    ] = "",
) -> None:
    """Run both lanes of the named providers against the venues themselves, until Ctrl-C."""
    from penstock.cli.up import run

    if redis:
        _check_redis(redis)
    names = _provider_names(live)
    if symbols and len(names) > 1:
        raise ConfigError("--symbols needs exactly one provider in --live")
    wanted = tuple(symbol for symbol in symbols.split(",") if symbol)
    raise typer.Exit(asyncio.run(run(names, directory, redis, wanted, seconds, Console(), discord_webhook_env)))


@app.command(epilog="Example: `penstock trade carry --config strategies/carry/config.yaml`")
def trade(
    strategy: Annotated[str, typer.Argument(help="A folder of strategies/.")],
    config: Annotated[Path, typer.Option(help="What it trades, how, and on which accounts: YAML or TOML.")],
    redis: Annotated[str, typer.Option(envvar="PENSTOCK_REDIS", help="Before what the file says.")] = "",
    instruments: Annotated[str, typer.Option(help="PROVIDER:SYMBOL,… before what the file says.")] = "",
    definitions_timeout_s: Annotated[float, typer.Option(min=0, help="How long to wait for instruments.")] = 60.0,
) -> None:
    """Run a strategy on the live feed until SIGTERM; in the sandbox, unless the file names an account."""
    from penstock.cli.trade import run

    raise typer.Exit(run(strategy, config, redis, instruments, definitions_timeout_s))


@app.command(
    epilog="Example: `penstock backtest imbalance --config run.yaml --from 2026-11-21 --to 2026-11-21 --output page.html`"
)
def backtest(
    strategy: Annotated[str, typer.Argument(help="A folder of strategies/.")],
    config: Annotated[Path, typer.Option(help="What it trades and how: YAML or TOML, as for trade.")],
    begin: Annotated[str, typer.Option("--from", help="UTC day, or a time such as 2026-11-21T07:30.")],
    end: Annotated[str, typer.Option("--to", help="UTC day (to its end) or a time (exclusive).")],
    source: Source = ".penstock/demo/final",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the results page here (HTML).")] = None,
    seen_log: Annotated[Path | None, typer.Option(help="Note here what the strategy saw, line by line.")] = None,
    as_json: Json = False,
) -> None:
    """Run a strategy over stored days: the same code, objects and order as live."""
    from penstock.cli import backtest as command

    between = command.window(begin, end)
    console = Console(stderr=as_json)
    raise typer.Exit(command.main(strategy, config, between, _url(source), output, seen_log, console, as_json=as_json))


@app.command(epilog="Example: `penstock digests --events 3000 --rate 200`")
def digests(
    directory: Directory = Path(".penstock/digests"),
    capture: Annotated[str, typer.Option(help="Replay this recording (comma-separated files).")] = "",
    provider: Annotated[str, typer.Option(help="The recording's provider.")] = "",
    providers: Annotated[str, typer.Option(help="Simulated providers.")] = "binance_spot,coinbase_advanced,deribit",
    events: Annotated[int, typer.Option(min=30, help="How many events the simulated market has.")] = 100_000,
    rate: Annotated[float, typer.Option(min=1, help="Events per second, all venues together.")] = 400.0,
    seed: Annotated[int, typer.Option(help="The market's seed.")] = 1,
    speed: Annotated[str, typer.Option(help="Replay speed: a multiple of the recorded pace, or max.")] = "4",
    every: Annotated[int, typer.Option(min=0, help="Quotes of an instrument from one order to the next.")] = 100,
    fills: Annotated[bool, typer.Option("--fills", help="Compare fills too: for markets slow enough.")] = False,
    as_json: Json = False,
) -> None:
    """Show that a strategy sees the same on one lane, on both, with PRIMARY killed, and in a backtest."""
    from penstock.cli.digests import Options, run

    if capture and not provider:
        raise ConfigError("--capture needs --provider, the venue that was recorded")
    files = tuple(Path(name) for name in capture.split(",") if name)
    for file in files:
        if not file.exists():
            raise ConfigError(f"--capture is {str(file)!r}: no such file")
    options = Options(
        directory=directory, providers=_provider_names(provider if capture else providers), events=events, rate=rate,
        seed=seed, captures=files, speed=speed, every=every, fills=fills, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(run(options, Console(stderr=as_json)))


@app.command(epilog="Example: `penstock tail 'MARKET_DATA.PRIMARY.TRADES.*' --redis redis://127.0.0.1:6379`")
def tail(
    pattern: Annotated[str, typer.Argument(help="A PSUBSCRIBE pattern.")] = "MARKET_DATA.*",
    redis: Redis = "redis://127.0.0.1:6379",
    raw: Annotated[bool, typer.Option("--raw", help="Undecoded DBN bytes.")] = False,
    as_json: Json = False,
    count: Annotated[int, typer.Option(help="Stop after this many messages; 0 never.")] = 0,
) -> None:
    """Follow the hot path: decoded records, one line each."""
    from penstock.cli.tail import Reader, follow

    _check_redis(redis)
    reader = Reader(redis)
    for number, (channel, data) in enumerate(follow(redis, pattern), 1):
        for line in reader.lines(channel, data, raw=raw, as_json=as_json):
            typer.echo(line)
        if number == count:
            break


@app.command(epilog="Example: `penstock normalize COINBASE.jsonl.zst --provider coinbase_advanced -o day.dbn.zst`")
def normalize(
    capture: Annotated[list[Path], typer.Argument(help="Recording files, in order.")],
    provider: Annotated[str, typer.Option(help="The venue that was recorded.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="DBN output; the schema is put before .dbn.zst.")
    ] = None,
    definitions: Annotated[
        Path | None, typer.Option(help="The venue's instrument list (JSON), where the recording has none.")
    ] = None,
) -> None:
    """Normalize a recording to DBN files and print a JSON summary."""
    from penstock.cli.normalize import normalize_capture

    for path in capture:
        if not path.exists():
            raise ConfigError(f"CAPTURE is {str(path)!r}: no such file")
    summary = normalize_capture(capture, provider, output, definitions)
    typer.echo(json.dumps(summary.as_dict(), indent=1))


@app.command(epilog='Example: `penstock query "SELECT provider, count(*) FROM trades GROUP BY 1"`')
def query(
    sql: Annotated[str, typer.Argument(help="Athena's SQL over trades, trades_readable, …, frames: see docs/lake.md.")],
    source: Source = ".penstock/demo/final",
    intermediate: Annotated[str, typer.Option(help="Raw objects, for the table raw_intermediate.")] = "",
    athena: Annotated[bool, typer.Option("--athena", help="On Athena itself, not here on DuckDB.")] = False,
    database: Annotated[str, typer.Option(help="Athena's database.")] = "penstock",
    workgroup: Annotated[str, typer.Option(help="Athena's workgroup.")] = "primary",
    output: Annotated[str, typer.Option(help="s3:// URL for Athena's results, where the workgroup has none.")] = "",
    as_json: Json = False,
) -> None:
    """Run SQL over a coalesced dataset."""
    from penstock.cli import query as command

    if athena:
        columns, rows = command.on_athena(sql, database, workgroup, output, Console(stderr=True))
    else:
        columns, rows = command.query(sql, _url(source), _url(intermediate) if intermediate else "")
    if as_json:
        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str))
        return
    table = Table()
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row))
    Console().print(table)


@app.command(name="tables", epilog="Example: `penstock tables --final s3://bucket/lake --intermediate s3://bucket2`")
def lake_tables(
    final: Annotated[str, typer.Option(help="URL of the final store.")] = "s3://FINAL",
    intermediate: Annotated[str, typer.Option(help="URL of the intermediate store.")] = "s3://INTERMEDIATE",
    as_json: Json = False,
) -> None:
    """Print what makes the lake's tables and views in Athena: statements, or with --json Glue's descriptions."""
    from penstock.cli.tables import document, script

    roots = {"intermediate": intermediate, "final": final}
    typer.echo(json.dumps(document(roots), indent=1) if as_json else script(roots))


cold.register(app)


@app.command(
    epilog="Example: `penstock check --ledger ledger.jsonl --stream stream.bin --dataset final`",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def check(context: typer.Context) -> None:
    """Compare what came out with the simulated market's ledger (the independent checker's own options)."""
    raise typer.Exit(_module(["checker", "check", *context.args]))


@app.command(epilog="Example: `penstock providers --json`")
def providers(as_json: Json = False) -> None:
    """List the providers with their channels, schemas, limits, keys, and what they were shown to work against."""
    from penstock.cli import listing

    if as_json:
        typer.echo(json.dumps(listing.rows()))
    else:
        Console().print(listing.table())


@app.command(epilog="Example: `penstock deploy --cluster penstock-prod`")
def deploy(
    cluster: Annotated[str, typer.Option(help="The ECS cluster.")],
    providers: Annotated[str, typer.Option(help="Only these, comma-separated; else all, one after the other.")] = "",
    wait_s: Annotated[float, typer.Option(min=1, help="How long a lane may take to be healthy.")] = 600.0,
) -> None:
    """Put the newest task definitions into service: REPLICA first, PRIMARY once it is healthy; stop at a failure."""
    from penstock.cli.deploy import Ecs
    from penstock.cli.rollout import roll

    target = Ecs(cluster)
    present = target.providers()
    wanted = _provider_names(providers) if providers else tuple(present)
    if missing := [name for name in wanted if name not in present]:
        raise ConfigError(f"--providers: {', '.join(missing)} not deployed in {cluster}, expected {', '.join(present)}")
    roll(target, wanted, typer.echo, wait_s=wait_s)


@app.command("redis-acl", epilog="Example: `penstock redis-acl > terraform/modules/redis/acl.json`")
def redis_acl() -> None:
    """Print every Redis user's ACL rules as JSON, without passwords: what the terraform module of Redis reads."""
    import providers as folders
    from penstock.redisacl import users

    typer.echo(json.dumps({"users": users(folders.names())}, indent=2))


@app.command("aws-local", epilog="Example: `penstock aws-local --seconds 20`")
def aws_local(
    directory: Directory = Path(".penstock/aws-local"),
    seconds: Annotated[float, typer.Option(min=2, help="How long the market runs, beside the failure.")] = 12.0,
) -> None:
    """Apply terraform/environments/local to an AWS emulator, run the pipeline on it, break it, check everything."""
    from penstock.cli.aws import run as local
    from penstock.config import environment

    raise typer.Exit(asyncio.run(local.run(directory, seconds, local.plugins(environment()), Console())))


@app.command("plan-table", epilog="Example: `penstock plan-table`")
def plan_table() -> None:
    """Print what terraform/environments/prod would run for nine providers, and where; needs Terraform, not AWS."""
    from penstock.cli.aws import plan
    from penstock.cli.aws import run as local
    from penstock.config import environment

    plan.show(plan.planned(local.plugins(environment())), Console())


def main() -> None:
    """Entry point: what cannot be done is one readable line on stderr and exit code 2 (1 where it may work later)."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.TyperException as error:
        _refuse(f"{' '.join(error.format_message().split())} (penstock --help shows what there is)", 2)
    except Terminal as error:
        _refuse(str(error), 2)
    except ConnectionLost as error:
        _refuse(str(error), 1)
    except typer.Abort:
        sys.exit(130)
    sys.exit(code or 0)


def _refuse(line: str, code: int) -> NoReturn:
    typer.echo(f"penstock: {line}", err=True)
    sys.exit(code)


def _provider_names(text: str) -> tuple[str, ...]:
    import providers as folders

    names = tuple(name for name in text.split(",") if name)
    if not names:
        raise ConfigError(f"the providers are {text!r}, expected one or more of {', '.join(folders.names())}")
    # People say "data" for databento; accept a beginning that names exactly one folder.
    resolved = []
    for name in names:
        matches = [known for known in folders.names() if known.startswith(name)]
        if name not in folders.names() and len(matches) > 1:
            raise ConfigError(f"the provider is {name!r}, expected one of {', '.join(matches)}")
        resolved.append(matches[0] if len(matches) == 1 else name)
        folders.info(resolved[-1])
    return tuple(resolved)


def _check_redis(url: str) -> None:
    from services.normalizer.resp import Node

    Node.parse(url)


def _url(text: str) -> str:
    return text if "://" in text else Path(text).resolve().as_uri()


def _module(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", *arguments], check=False).returncode  # noqa: S603 # our own modules
