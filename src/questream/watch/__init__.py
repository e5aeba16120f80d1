"""The process that publishes events of clusters: it reads decisions and publishes each event once."""
