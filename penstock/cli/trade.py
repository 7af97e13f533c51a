"""`penstock trade`: a strategy on the live feed as a service, in this process."""

from __future__ import annotations

from pathlib import Path

from penstock.errors import ConfigError


def run(strategy: str, config: Path, redis: str, instruments: str, definitions_timeout_s: float) -> int:
    """Run until SIGTERM or Ctrl-C; JSON lines on stdout. Raises Terminal where it cannot start."""
    if not config.exists():
        raise ConfigError(f"--config is {str(config)!r}: no such file")
    from strategies.run import main, names

    if strategy not in names():
        raise ConfigError(f"STRATEGY is {strategy!r}, expected one of {', '.join(names())}")
    words = ["--strategy", strategy, "--config", str(config), "--definitions-timeout-s", f"{definitions_timeout_s:g}"]
    words += ["--redis", redis] if redis else []
    words += ["--instruments", instruments] if instruments else []
    return main(words)
