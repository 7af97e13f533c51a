"""Benchmarks: what each step costs, as one table and as JSON. Never tests: nothing here passes or fails."""
