"""Sending what the journal holds: batches, deadline, account. Knows neither pytest nor any protocol."""
