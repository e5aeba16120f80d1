"""The store on Redis: client, keys, codec and scripts."""
