"""An evaluation as one HTML page that needs nothing else: tables, plots, and what went wrong with examples."""
