"""Alerts to Discord: one formatter, two entries (`handler` in a Lambda, `local` beside a local run).

Nothing in here imports a third-party package, so that the Lambda is these files and Python itself.
"""
