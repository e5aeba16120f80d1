"""The reference store: the executable specification that Redis is compared with."""
