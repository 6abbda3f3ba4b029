"""The queue between pytest and the sender, on disk: append, seal, acknowledge, recover.

Each run has ``<run>.jsonl`` (one line an attempt, as ClickHouse loads it), ``<run>_events.jsonl`` and a
sidecar ``<run>.meta.jsonl`` with what rows cannot say. pytest only appends; the helper and replay read.
"""
