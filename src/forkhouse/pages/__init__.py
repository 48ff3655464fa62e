"""The HTML of all reports."""
