"""A second look at what vectors call near: do two questions differ in a number, a name, a negation, an opposite?"""
