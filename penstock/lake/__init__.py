"""The lake as SQL sees it: its tables, stated once, for Athena, for Glue and for DuckDB.

`tables` says what there is, `projection` which keys a partition has, `views` what a person reads; `ddl` and `glue` write
them down for AWS, `local` runs them on DuckDB over published days. docs/lake.md has a section on them.
"""
