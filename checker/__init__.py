"""The independent checker: compares the market's ledger with what came out of the pipeline.

It shares no code with the pipeline beyond DBN itself (databento_dbn), so that a mistake there cannot hide here.
"""
