"""The ACL rules terraform hands to ElastiCache are those of penstock.redisacl, and give nothing away."""

from __future__ import annotations

import json
from pathlib import Path

import providers
from penstock.redisacl import users

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_rules_are_current():
    """`penstock redis-acl > terraform/modules/redis/acl.json` renews them, for instance after adding a provider."""
    committed = json.loads((ROOT / "terraform/modules/redis/acl.json").read_text())
    assert committed == {"users": users(providers.names())}


def test_everybody_starts_from_nothing():
    for name, rules in users(providers.names()).items():
        if name != "admin":
            words = rules.split()
            assert words[:4] == ["off" if name == "default" else "on", "resetkeys", "resetchannels", "-@all"]
            assert not {word for word in words[4:] if word.startswith("+@") or word in {"allkeys", "allchannels", "~*"}}
