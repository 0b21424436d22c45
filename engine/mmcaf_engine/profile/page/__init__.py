"""The parts of the page that shows a report: text, tables and drawings, without a script and without a request."""
