"""The report: results of a run or of a time span as one HTML file that needs nothing but a browser."""
