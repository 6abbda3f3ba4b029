"""Spans made from the lines of a journal, and rows made from spans: both through the table of columns."""
