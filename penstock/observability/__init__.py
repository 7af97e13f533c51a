"""Dashboards, alarms and alert rules, made from penstock.catalogue: `python -m penstock.observability` writes them all.

What is made is committed under observability/ and read from there by Terraform, Prometheus and Grafana.
"""
