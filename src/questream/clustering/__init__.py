"""The pure core: which cluster does a question belong to, and which clusters are one. No I/O, no clock, no settings."""
