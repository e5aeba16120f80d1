"""The process that tells events of clusters: it reads decisions and publishes events, each once."""
