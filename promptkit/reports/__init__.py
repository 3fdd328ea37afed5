"""Reports: results as self-contained HTML pages, which need neither a server nor a network."""
