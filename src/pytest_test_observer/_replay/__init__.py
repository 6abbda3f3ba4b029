"""Sending what was kept on disk: finding the files, one run's replay, files of 0.2.0, quarantine.

The command line stands in ``_cli``; batches, borders and tokens are the journal's own.
"""
